/* A stand-in for Microsoft's Office.js in an Outlook that reads a message.  Not part of the product.

   window.stage, made by the test before any script runs, is the Outlook: {token, message, address, language, silent, noBars, mute, never}.
   What the add-in shows and says is noted there: {bars, completed, calls}; answer() gives the token of a silent one, late.  The rules are
   the real ones: lengths, mandatory parts, no window.alert. */
(function () {
  "use strict";
  var stage = window.stage;
  stage.bars = [];
  stage.completed = 0;
  stage.calls = 0;

  function later(callback, value) {
    window.setTimeout(function () {
      callback(value);
    }, 0);
  }

  function check(key, details) {
    var allowed = { informationalMessage: ["type", "message", "icon", "persistent"], progressIndicator: ["type", "message"], errorMessage: ["type", "message"] };
    var names = allowed[details.type];
    if (!names || key.length > 32 || !details.message || details.message.length > 150) {
      throw new Error("Sys.ArgumentOutOfRangeException: " + JSON.stringify(details));
    }
    if (Object.keys(details).sort().join() !== names.slice().sort().join()) {
      throw new Error("Sys.ArgumentException: " + JSON.stringify(details));
    }
  }

  var item = stage.message === null ? null : {
    itemType: "message",
    internetMessageId: stage.message,
    notificationMessages: stage.noBars ? undefined : {
      replaceAsync: function (key, details, callback) {
        check(key, details);
        stage.bars.push({ key: key, details: details });
        if (!stage.mute) {
          later(callback, { status: "succeeded" });
        }
      }
    }
  };

  window.Office = {
    AsyncResultStatus: { Succeeded: "succeeded", Failed: "failed" },
    context: {
      displayLanguage: stage.language || "en-US",
      mailbox: {
        item: item,
        userProfile: { emailAddress: stage.address, displayName: "Anna", timeZone: "UTC" },
        getUserIdentityTokenAsync: function (callback) {
          stage.calls += 1;
          stage.answer = function () {
            callback({ status: "succeeded", value: stage.token });
          };
          if (!stage.silent) {
            later(callback, stage.token ? { status: "succeeded", value: stage.token } : { status: "failed", error: { code: 9017 } });
          }
        }
      }
    }
  };
  window.alert = window.confirm = window.prompt = function () {
    throw new Error("Function is not supported.");
  };
  // As the real one: it waits until the page has said what to call.
  var waiting = window.setInterval(function () {
    if (window.Office.initialize) {
      window.clearInterval(waiting);
      if (!stage.never) {
        window.Office.initialize("inserted");
      }
    }
  }, 20);
})();

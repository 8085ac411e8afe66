/* Owns the add-in's page and the functions of its three buttons in Outlook: asks Outlook who this is and which message is open, tells
   the filter, says in one sentence what was done.
   ECMAScript 5 alone: Outlook 2016 and 2019 run it in Internet Explorer 11.  Office.js takes window.alert away. */
(function () {
  "use strict";

  var WAIT = 30000; // milliseconds for an answer of the filter
  var ALL = 60000; // milliseconds for the whole: Outlook may never answer when it is asked for the token
  var CONNECT = 15000; // milliseconds for Outlook to say that it is there
  var BAR = 5000; // milliseconds for Outlook to show a sentence, which takes none: it may never say that it did
  var KEY = "filterd-report"; // of the bar above the message; a later one replaces the one before
  var LABELS = ["spam", "phish", "ham"];

  // Sentences of the bar have at most 150 characters: Outlook refuses longer ones.
  var TEXTS = {
    en: {
      title: "What is this message?",
      spam: ["Spam", "Advertising or a trick that I did not ask for"],
      phish: ["Phishing", "It wants passwords or money and pretends to be somebody else"],
      ham: ["Not spam", "I want this message; it was taken for spam"],
      sending: "Sending your report …",
      counted: "Thank you. Your report counts.",
      review: "Thank you. Somebody will look at your report before the filter learns from it.",
      already: "You have reported this message already. Nothing more is needed.",
      unknown: "Thank you. The filter has no record of this message, so somebody will look at your report.",
      busy: "You have sent many reports in a short time. Please wait a minute.",
      later: "Your report could not be sent. Please try again in a few minutes.",
      refused: "The filter could not check who you are, so nothing was reported. Please tell your administrator.",
      nothing: "Please open a received message first.",
      outside: "This page works inside Outlook only."
    },
    de: {
      title: "Was ist diese Nachricht?",
      spam: ["Spam", "Unverlangte Werbung oder ein Trick"],
      phish: ["Phishing", "Sie will Passwörter oder Geld und gibt sich als jemand anderes aus"],
      ham: ["Kein Spam", "Ich will diese Nachricht; sie galt zu Unrecht als Spam"],
      sending: "Ihre Meldung wird gesendet …",
      counted: "Danke. Ihre Meldung zählt.",
      review: "Danke. Jemand sieht sich Ihre Meldung an, bevor der Filter daraus lernt.",
      already: "Sie haben diese Nachricht schon gemeldet. Mehr ist nicht nötig.",
      unknown: "Danke. Der Filter kennt diese Nachricht nicht; jemand sieht sich Ihre Meldung an.",
      busy: "Sie haben in kurzer Zeit viel gemeldet. Bitte warten Sie eine Minute.",
      later: "Ihre Meldung konnte nicht gesendet werden. Bitte versuchen Sie es in einigen Minuten noch einmal.",
      refused: "Der Filter konnte nicht prüfen, wer Sie sind; nichts wurde gemeldet. Bitte sagen Sie es Ihrem Administrator.",
      nothing: "Bitte öffnen Sie zuerst eine empfangene Nachricht.",
      outside: "Diese Seite funktioniert nur in Outlook."
    },
    fr: {
      title: "Qu’est-ce que ce message ?",
      spam: ["Spam", "Publicité ou piège que je n’ai pas demandé"],
      phish: ["Hameçonnage", "Il vise mots de passe ou argent et usurpe une identité"],
      ham: ["Légitime", "Je veux ce message ; il a été pris pour du spam"],
      sending: "Envoi de votre signalement …",
      counted: "Merci. Votre signalement compte.",
      review: "Merci. Quelqu’un examinera votre signalement avant que le filtre n’en apprenne.",
      already: "Vous avez déjà signalé ce message. Rien de plus n’est nécessaire.",
      unknown: "Merci. Le filtre ne connaît pas ce message ; quelqu’un examinera votre signalement.",
      busy: "Vous avez envoyé beaucoup de signalements en peu de temps. Veuillez attendre une minute.",
      later: "Votre signalement n’a pas pu être envoyé. Veuillez réessayer dans quelques minutes.",
      refused: "Le filtre n’a pas pu vérifier votre identité ; rien n’a été signalé. Veuillez avertir votre administrateur.",
      nothing: "Veuillez d’abord ouvrir un message reçu.",
      outside: "Cette page ne fonctionne que dans Outlook."
    },
    es: {
      title: "¿Qué es este mensaje?",
      spam: ["Spam", "Publicidad o engaño que no he pedido"],
      phish: ["Phishing", "Busca contraseñas o dinero y suplanta a otra persona"],
      ham: ["No es spam", "Quiero este mensaje; se tomó por spam"],
      sending: "Enviando su aviso …",
      counted: "Gracias. Su aviso cuenta.",
      review: "Gracias. Alguien revisará su aviso antes de que el filtro aprenda de él.",
      already: "Ya ha notificado este mensaje. No hace falta nada más.",
      unknown: "Gracias. El filtro no conoce este mensaje; alguien revisará su aviso.",
      busy: "Ha enviado muchos avisos en poco tiempo. Espere un minuto.",
      later: "No se pudo enviar su aviso. Inténtelo de nuevo en unos minutos.",
      refused: "El filtro no pudo comprobar quién es usted; no se notificó nada. Avise a su administrador.",
      nothing: "Abra primero un mensaje recibido.",
      outside: "Esta página solo funciona en Outlook."
    }
  };
  var GOOD = { counted: true, review: true, already: true, unknown: true };

  var busy = true; // until Outlook is there, and while a report is under way

  function language() {
    var name = "";
    try {
      name = Office.context.displayLanguage;
    } catch (error) {
      /* outside of Outlook */
    }
    name = String(name || navigator.language || "en").slice(0, 2).toLowerCase();
    return TEXTS.hasOwnProperty(name) ? name : "en";
  }

  function texts() {
    return TEXTS[language()];
  }

  /* Reports the open message; calls done(outcome) exactly once, outcome being a key of TEXTS. */
  function report(label, done) {
    var told = false;
    function once(found) {
      if (!told) {
        told = true;
        window.clearTimeout(limit);
        done(found);
      }
    }
    var limit = window.setTimeout(function () {
      once("later");
    }, ALL);
    try {
      var mailbox = Office.context.mailbox;
      var message = mailbox.item && mailbox.item.internetMessageId; // now: the reader may go on to the next message
      if (!message) {
        once("nothing");
        return;
      }
      mailbox.getUserIdentityTokenAsync(function (result) {
        if (told) {
          return; // too late: "could not be sent" was said, and must be true
        }
        if (result.status !== "succeeded" || !result.value) {
          once("later");
          return;
        }
        send({
          token: result.value,
          internet_message_id: message,
          address: mailbox.userProfile.emailAddress,
          label: label
        }, once);
      });
    } catch (error) {
      once("later");
    }
  }

  function send(body, done) {
    var request = new XMLHttpRequest();
    request.open("POST", "reports", true);
    request.timeout = WAIT;
    request.setRequestHeader("Content-Type", "application/json");
    request.onload = function () {
      done(outcome(request));
    };
    request.onerror = request.ontimeout = request.onabort = function () {
      done("later");
    };
    request.send(JSON.stringify(body));
  }

  function outcome(request) {
    if (request.status === 200) {
      try {
        var found = JSON.parse(request.responseText).outcome;
        return GOOD.hasOwnProperty(found) ? found : "later";
      } catch (error) {
        return "later"; // a proxy's page, not ours
      }
    }
    if (request.status === 429) {
      return "busy";
    }
    return request.status === 401 || request.status === 403 ? "refused" : "later";
  }

  /* A button in Outlook's ribbon: the answer is a bar above the message. */
  function command(label) {
    return function (event) {
      var item = Office.context.mailbox.item;
      function finish() {
        event.completed();
      }
      bar(item, { type: "progressIndicator", message: texts().sending }, function () {
        report(label, function (found) {
          var words = { type: "errorMessage", message: texts()[found] };
          if (GOOD[found]) {
            words = { type: "informationalMessage", message: texts()[found], icon: label + "-16", persistent: false };
          }
          bar(item, words, finish);
        });
      });
    };
  }

  /* Shows words, then calls done exactly once: the report itself must not depend on bars. */
  function bar(item, words, done) {
    var shown = false;
    function once() {
      if (!shown) {
        shown = true;
        window.clearTimeout(limit);
        done();
      }
    }
    var limit = window.setTimeout(once, BAR);
    try {
      item.notificationMessages.replaceAsync(KEY, words, once);
    } catch (error) {
      once(); // an Outlook without bars
    }
  }

  function say(found) {
    var status = document.getElementById("status");
    status.className = GOOD[found] ? "good" : found === "sending" || !found ? "" : "bad";
    status.textContent = found ? texts()[found] : "";
  }

  function enable(on) {
    busy = !on;
    for (var i = 0; i < LABELS.length; i += 1) {
      // Not "disabled": that would take the focus away from those who use the keyboard.
      document.getElementById(LABELS[i]).setAttribute("aria-disabled", on ? "false" : "true");
    }
  }

  function press(label) {
    return function () {
      if (busy) {
        return;
      }
      enable(false);
      say("sending");
      report(label, function (found) {
        say(found);
        enable(true);
      });
    };
  }

  function translate() {
    var words = texts();
    document.documentElement.lang = language();
    document.title = words.title;
    document.getElementById("title").textContent = words.title;
    for (var i = 0; i < LABELS.length; i += 1) {
      document.getElementById(LABELS[i] + "-name").textContent = words[LABELS[i]][0];
      document.getElementById(LABELS[i] + "-tip").textContent = words[LABELS[i]][1];
    }
  }

  // The manifest's FunctionName elements.
  window.reportSpam = command("spam");
  window.reportPhish = command("phish");
  window.reportHam = command("ham");

  var inOutlook = false;
  var drawn = false;

  function begin() {
    if (inOutlook && drawn) {
      translate();
      say("");
      enable(true);
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    drawn = true;
    translate();
    for (var i = 0; i < LABELS.length; i += 1) {
      document.getElementById(LABELS[i]).addEventListener("click", press(LABELS[i]));
    }
    begin();
    window.setTimeout(function () {
      if (!inOutlook) {
        say("outside");
      }
    }, typeof Office === "undefined" ? 0 : CONNECT);
  });

  if (typeof Office !== "undefined") {
    Office.initialize = function () {
      inOutlook = true;
      begin();
    };
  }
})();

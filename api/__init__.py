"""The side service: quarantine, trace, reports, models and queue over HTTP.  May import filterd; filterd never imports it."""

// Starts Swagger UI on our own description; nothing is fetched from elsewhere (validatorUrl null), no token is stored.
window.ui = SwaggerUIBundle({
  url: location.origin + "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
});

"""Pages in a real browser: Debian's Chromium, and the side service behind TLS on the loopback interface."""

"""One small router per noun."""

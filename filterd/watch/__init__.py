"""What models do to live mail, looked at in the background: shadow, rollback, drift."""

"""filterd: an anti-spam edge filter that stands on port 25 in front of Microsoft Exchange."""

__version__ = "0.1.0"

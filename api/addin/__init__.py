"""The Outlook add-in for mailboxes on an Exchange server of one's own: manifest, page, icons, and who presses the button."""

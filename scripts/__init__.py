"""What people type. The commands themselves are shell; what they run is here."""

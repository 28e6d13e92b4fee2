"""What a server is, and how it is therefore asked."""

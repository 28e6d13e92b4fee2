"""What servers speak: requests out, responses in."""

"""Networks that other people trained and released."""

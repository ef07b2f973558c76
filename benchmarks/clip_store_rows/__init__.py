"""The rows of the clip store's benchmark."""

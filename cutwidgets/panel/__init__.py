"""The widget: its state, what its page is sent, and the page itself."""

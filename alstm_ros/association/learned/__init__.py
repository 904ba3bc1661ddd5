"""The learned association: what the network is shown, what it remembers, and the step that it makes."""

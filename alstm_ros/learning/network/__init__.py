"""The Association LSTM as a PyTorch network, its losses, and its file."""

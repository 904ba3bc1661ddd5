"""Labels for recordings that nobody labelled: strict links, joined in hindsight."""

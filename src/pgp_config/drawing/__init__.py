"""Containers, secrets and clients as a picture: SVG, Mermaid, DOT or JSON; nothing else is needed to draw them."""

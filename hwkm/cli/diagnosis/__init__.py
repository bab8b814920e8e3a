"""What ``hwkm doctor`` looks at. Each module returns findings; nothing here changes anything."""

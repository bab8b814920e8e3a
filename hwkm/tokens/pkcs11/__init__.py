"""PKCS#11 tokens through python-pkcs11: keys, and an anchor made of a private data object."""

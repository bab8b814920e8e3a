"""Stateless wrappers over `cryptography`: SecureBox, knowledge-factor hashing, labels."""

"""TPM 2.0 through tpm2-pytss: persistent keys, and an anchor in one NV index."""

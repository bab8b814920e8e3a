"""``python -m hwkm.server`` is ``hwkmd``."""

from hwkm.server.main import run

if __name__ == "__main__":
    run()

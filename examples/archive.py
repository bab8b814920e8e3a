"""An archive of letters: rows in PostgreSQL, attachments on S3, each under a data key of its own.

    python -m examples.archive

The master key is in the hardware behind hwkmd. A letter's text is in its row, its attachment in an
object; beside each lies its data key, wrapped, in a column. When the master key is rotated, those
two columns are rewrapped: no text and no object is written, and S3 is not even asked.

Environment: HWKM_SOCKET (hwkmd), ARCHIVE_DATABASE (an SQLAlchemy URL), ARCHIVE_BUCKET, and what
boto3 takes (AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, ...).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import boto3
import sqlalchemy as sa

from hwkm.client import KeyClient, Sealed
from hwkm.client.rewrap_rows import RowOutcome, WrappedColumn, rewrap_rows

KEY: Final = "alias/archive"
TENANT: Final = "blue"

LETTERS: Final = sa.Table(
    "letters",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.LargeBinary, nullable=False),
    sa.Column("text_key", sa.LargeBinary, nullable=False),
    sa.Column("attachment_key", sa.LargeBinary, nullable=False),
)
"""``text`` is sealed; ``text_key`` and ``attachment_key`` are wrapped data keys."""

COLUMNS: Final = (
    WrappedColumn("letters", "id", "text_key", {"tenant": TENANT}, {"letter": "id"}),
    WrappedColumn("letters", "id", "attachment_key", {"tenant": TENANT}, {"attachment": "id"}),
)


def context(part: str, number: int) -> dict[str, str]:
    """What a data key is bound to: the tenant and the place of what it encrypts."""
    return {"tenant": TENANT, part: str(number)}


@dataclass(frozen=True, slots=True)
class Archive:
    """Letters by number."""

    keys: KeyClient
    database: sa.Engine
    s3: Any
    bucket: str

    def put(self, number: int, text: bytes, attachment: bytes) -> None:
        """Store a letter."""
        sealed = self.keys.seal(KEY, text, context("letter", number))
        attached = self.keys.seal(KEY, attachment, context("attachment", number))
        self.s3.put_object(Bucket=self.bucket, Key=f"letters/{number}", Body=attached.ciphertext)
        with self.database.begin() as connection:
            connection.execute(
                LETTERS.insert().values(
                    id=number,
                    text=sealed.ciphertext,
                    text_key=sealed.wrapped,
                    attachment_key=attached.wrapped,
                )
            )

    def get(self, number: int) -> tuple[bytes, bytes]:
        """A letter and its attachment."""
        with self.database.connect() as connection:
            row = connection.execute(LETTERS.select().where(LETTERS.c.id == number)).one()
        stored = self.s3.get_object(Bucket=self.bucket, Key=f"letters/{number}")["Body"].read()
        attached = Sealed(row.attachment_key, stored)
        with (
            self.keys.open(Sealed(row.text_key, row.text), context("letter", number)) as text,
            self.keys.open(attached, context("attachment", number)) as attachment,
        ):
            return text.expose(), attachment.expose()

    def rewrap(self) -> int:
        """Bring every data key under the newest version of the master key; say how many there were."""
        total = 0
        for column in COLUMNS:
            tally = rewrap_rows(self.keys, self.database, column)
            if tally.stopped:
                raise tally.stopped
            if tally.counts[RowOutcome.FAILED]:
                raise SystemExit(f"{tally.counts[RowOutcome.FAILED]} data keys could not be rewrapped")
            total += tally.counts[RowOutcome.REWRAPPED]
        return total

    def fingerprint(self) -> tuple[Any, ...]:
        """All that must not change when keys do: sealed texts, and what S3 says of its objects."""
        with self.database.connect() as connection:
            texts = connection.execute(sa.select(LETTERS.c.id, LETTERS.c.text).order_by(LETTERS.c.id)).all()
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="letters/")["Contents"]
        return tuple(map(tuple, texts)), tuple((o["Key"], o["ETag"], o["LastModified"]) for o in listed)


def main() -> None:
    """Store letters, rotate the master key, rewrap, and read them again."""
    database = sa.create_engine(os.environ["ARCHIVE_DATABASE"])
    with KeyClient(os.environ["HWKM_SOCKET"]) as keys:
        archive = Archive(keys, database, boto3.client("s3"), os.environ["ARCHIVE_BUCKET"])
        keys.create(KEY, description="Archive of letters")
        LETTERS.metadata.create_all(database)
        archive.s3.create_bucket(Bucket=archive.bucket)

        letters = {n: (f"Dear reader {n}".encode(), os.urandom(100_000)) for n in range(1, 11)}
        for number, (text, attachment) in letters.items():
            archive.put(number, text, attachment)
        print(f"stored {len(letters)} letters under {2 * len(letters)} data keys")

        before = archive.fingerprint()
        version = keys.rotate(KEY).version
        print(f"rotated: {KEY} has version {version}")
        print(f"rewrapped {archive.rewrap()} data keys, then {archive.rewrap()}")
        print("texts and objects untouched:", archive.fingerprint() == before)
        print("all letters read again:", all(archive.get(n) == letter for n, letter in letters.items()))
    database.dispose()


if __name__ == "__main__":
    main()

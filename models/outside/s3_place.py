"""A bucket of S3, or of what speaks its protocol, in which signed heads are laid down.

boto3 is optional, and finds credentials where it always does; they want `s3:PutObject` and `s3:GetObject` below the
prefix, and `s3:ListBucket`, without which S3 does not tell a missing object from a forbidden one.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from models.errors import UnavailableError
from models.outside.place import LONGEST, require_origin

ATTEMPTS: Final = 2
TIMEOUT_S: Final = 10.0
AT_ONCE: Final = 4

T = TypeVar("T")


class PlaceError(Exception):
    """An outside place can't be set up. The message says what is missing."""


class S3Place:
    """Objects below a prefix of a bucket.

    url: s3://bucket/prefix. region, endpoint_url: where it is, unless boto3's own settings say so.

    Raises:
        PlaceError: boto3 is not installed, or can't be set up.
    """

    is_readable = True

    def __init__(self, url: str, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise PlaceError("Publishing to S3 needs boto3: install requirements-providers.txt.") from error
        parts = urlsplit(url)
        self._bucket = parts.netloc
        self._prefix = f"{prefix}/" if (prefix := parts.path.strip("/")) else ""
        share_s = TIMEOUT_S / ATTEMPTS
        config = Config(
            connect_timeout=share_s,
            read_timeout=share_s,
            max_pool_connections=AT_ONCE,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        )
        try:
            self._client: Any = boto3.session.Session().client(
                "s3", region_name=region, endpoint_url=endpoint_url, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise PlaceError(f"S3 can't be set up: {type(error).__name__}.") from error
        self._threads = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="s3")

    async def put(self, checkpoints: Mapping[str, str]) -> None:
        """Write the objects, a few at a time."""
        done = await asyncio.gather(
            *(self._ask(partial(self._put, origin, checkpoint)) for origin, checkpoint in checkpoints.items()),
            return_exceptions=True,
        )
        for one in done:
            if isinstance(one, BaseException):
                raise one

    async def read(self, origin: str) -> str | None:
        """Return an object's content."""
        return await self._ask(partial(self._get, origin))

    def _put(self, origin: str, checkpoint: str) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=self._key(origin),
            Body=checkpoint.encode(),
            ContentType="text/plain; charset=utf-8",
        )

    def _get(self, origin: str) -> str | None:
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(origin))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        found: str = answer["Body"].read(LONGEST).decode()
        return found

    def _key(self, origin: str) -> str:
        require_origin(origin)
        return f"{self._prefix}{origin}.checkpoint"

    async def _ask(self, work: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            raise UnavailableError("The bucket of published heads does not answer.") from error

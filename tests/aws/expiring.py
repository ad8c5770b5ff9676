"""An environment on moto in which things expire, as they do on AWS."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import moto.s3.models as s3_models
import pytest

from polos.engine import retention
from polos.engine.retention import Swept
from polos.testing import Environment
from polos.testing.moto_account import ACCOUNT
from polos.testing.moto_harness import MotoHarness


class Stack:
    def __init__(self, env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
        self.env = env
        monkeypatch.setattr(s3_models, "utcnow", lambda: env.now.replace(tzinfo=None))
        monkeypatch.setattr(retention, "_YEARS", 1)  # ten years of months take moto a second
        harness: Any = env._open
        self.harness: MotoHarness = harness
        self.harness.maintained = False  # it is done here, or it is not
        self.account, self.engine = self.harness.account, self.harness.engine

    def sweep(self, *, whole: bool = False) -> Swept:
        retention.sweep_gathered(self.engine, lambda: 900)
        return retention.sweep(self.engine, lambda: 900, whole=whole)

    def expire(self) -> None:
        """What DynamoDB and S3 do in the background: remove what has expired."""
        now, settings = self.env.now, self.account.settings
        for item in self._scan():
            if "ttl" in item and int(item["ttl"]["N"]) < now.timestamp():
                key = {name: item[name] for name in ("pk", "sk")}
                self.account.aws.dynamodb.delete_item(TableName=settings.table, Key=key)
        kept = timedelta(seconds=self.engine.limits.horizon or 0)  # the days of the template's lifecycle
        for key in self.objects:
            bucket = s3_models.s3_backends[ACCOUNT]["aws"].buckets[settings.bucket]
            if bucket.keys[key].last_modified + kept < now.replace(tzinfo=None):
                self.account.aws.s3.delete_object(Bucket=settings.bucket, Key=key)

    async def live(self, days: int, *, sweeping: bool = True) -> None:
        """Let time pass, a week at a time; the maintenance comes every second one."""
        for week in range(days // 7):
            await self.env.advance(days=7)
            if sweeping and week % 2:
                self.sweep()
            self.expire()

    def _scan(self) -> list[dict[str, Any]]:
        return list(self.account.aws.dynamodb.scan(TableName=self.account.settings.table)["Items"])

    def stored(self, execution_id: str) -> list[str]:
        return sorted(one["sk"]["S"] for one in self._scan() if one["pk"]["S"] == execution_id)

    @property
    def objects(self) -> list[str]:
        listed = self.account.aws.s3.list_objects_v2(Bucket=self.account.settings.bucket)
        return [one["Key"] for one in listed.get("Contents", [])]

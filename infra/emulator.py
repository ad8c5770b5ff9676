"""An emulator of AWS on this machine, to try a stack on without an account: ministack, and what it lacks.

Runs in the foreground until SIGTERM or Ctrl-C, on 127.0.0.1 and one port, with only the services that the template
uses; its data is in memory and goes with it. It needs the packages of requirements-emulator.txt and none of polos:

    .venv-emulator/bin/python infra/emulator.py --port 4566 [--auth]

With `--auth` the key "test" is the account's root, and every other principal may do what its policies say.

Where ministack 1.5 is not what AWS documents, it is set right here, so that the stack that is tried is the stack that
is deployed:

- A mapping's `MaximumConcurrency` that comes from a template parameter is a string there, which ends its poller.
  CloudFormation hands over the integer that the resource declares.
- `<aws.scheduler.scheduled-time>` in a schedule's input stays as it is. Scheduler puts the nominal time there (User
  Guide, "Adding context attributes").
- Permissions for the batch requests of SQS are asked for by a name of their own. AWS asks for that of the single
  request ("Actions, resources, and condition keys for Amazon SQS").
- A schedule is always taken for one of the group "default", and a listing for no schedule at all. AWS takes the group
  that the request names, and for a listing `schedule/*/*` (aws/aws-cdk issue 38201); for one of rules, `rule/*`.
- It is reached without TLS, which the bucket's policy forbids. Nothing leaves this machine, so a request counts as
  encrypted.
- A Lambda function gets the variables of the emulator's own process. Only some are kept from it (see `_clean`).

It differs in more: schedules fire on a tick of ten seconds and all in UTC, rules and schedules have no dead letters,
nothing throttles. `GET /_polos/log` tells what was asked of the emulator, a line each, for the lane's table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from typing import Any

SERVICES = "cloudformation,cloudwatch,dynamodb,events,iam,kms,lambda,logs,s3,scheduler,sns,sqs,sts"
HOST = "127.0.0.1"
READY = """\
The emulator is ready at http://{host}:{port}, until Ctrl-C. The policies of roles and users are {enforced}.
In another terminal:
  export AWS_ENDPOINT_URL=http://{host}:{port} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  export AWS_DEFAULT_REGION=us-east-1
and go on as docs/deploying.md says in "Try all of it without an account": polos init, sam build, sam deploy.
"""
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
_TAG = re.compile(rb"slow-[a-z]+")
_STACK = re.compile(rb"\b([a-z][a-z0-9]*)-[A-Z][A-Za-z]+-[0-9A-F]{12}")  # as CloudFormation names a resource
_LOG: list[dict[str, Any]] = []


def main() -> None:
    arguments = _arguments()
    if _answers(arguments.port):
        sys.exit(f"{HOST}:{arguments.port} is taken, perhaps by another emulator; make emulator EMULATOR_PORT=4567")
    _clean()
    os.environ |= {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(arguments.port),
        "SERVICES": SERVICES,
        "AUTH": "true" if arguments.auth else "false",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": arguments.log_level,
    }
    sys.argv = sys.argv[:1]
    # It unpacks each function's package once a process and version, and leaves that behind.
    with tempfile.TemporaryDirectory(prefix="polos-emulator-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    # Only now: ministack reads its environment when it is imported.
    from ministack import app
    from ministack.core import iam_actions
    from ministack.services import eventbridge, lambda_svc

    _let_numbers_be_numbers(lambda_svc)
    _say_the_nominal_time(eventbridge)
    _ask_for_permissions_by_their_names(iam_actions)
    _take_requests_for_encrypted(app)
    _count_invocations(lambda_svc)
    app.app = _announced(_logged(app.app), arguments)
    app.main()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"An emulator of AWS on {HOST}.")
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--auth", action="store_true", help="enforce the policies of roles and users")
    parser.add_argument("--log-level", default="INFO")
    return parser.parse_args()


def _clean() -> None:
    """Functions inherit this environment: they must get their settings, and their credentials, from the template."""
    for name in list(os.environ):
        if name.startswith(("POLOS_", "AWS_", "POWERTOOLS_", "OTEL_")) or name in ("PYTHONPATH", "VIRTUAL_ENV"):
            del os.environ[name]


def _let_numbers_be_numbers(lambda_svc: Any) -> None:
    concurrency = lambda_svc._sqs_esm_concurrency

    def of_mapping(esm: dict[str, Any], *rest: Any) -> Any:
        scaling = esm.get("ScalingConfig")
        if scaling and "MaximumConcurrency" in scaling:
            esm["ScalingConfig"] = {**scaling, "MaximumConcurrency": int(scaling["MaximumConcurrency"])}
        return concurrency(esm, *rest)

    lambda_svc._sqs_esm_concurrency = of_mapping


def _say_the_nominal_time(eventbridge: Any) -> None:
    invoke = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], *rest: Any) -> Any:
        said = target.get("Input") or ""
        if event.get("Source") == "aws.scheduler" and SCHEDULED_TIME in said:
            nominal = datetime.fromtimestamp(int(time.time()) // 60 * 60, UTC)
            target = {**target, "Input": said.replace(SCHEDULED_TIME, f"{nominal:%Y-%m-%dT%H:%M:%SZ}")}
        return invoke(target, event, rule, *rest)

    eventbridge._invoke_target = invoke_target


def _ask_for_permissions_by_their_names(iam_actions: Any) -> None:
    action, resource = iam_actions.extract_iam_action, iam_actions.extract_resource_arn

    def extract_iam_action(*request: Any) -> str | None:
        found: str | None = action(*request)
        return found.removesuffix("Batch") if found and found.startswith("sqs:") else found

    def extract_resource_arn(
        service: str, method: str, path: str, headers: Any, body: bytes, query: Any, *where: Any
    ) -> str:
        found: str = resource(service, method, path, headers, body, query, *where)
        if service == "scheduler" and ":schedule/default/" in found:
            group = query.get("groupName") or json.loads(body or b"{}").get("GroupName") or "default"
            group = group[0] if isinstance(group, list) else group
            return found.replace(":schedule/default/", f":schedule/{group}/")
        region, account = where
        if service == "scheduler" and path == "/schedules":
            return f"arn:aws:scheduler:{region}:{account}:schedule/*/*"
        if service == "events" and headers.get("x-amz-target", "").endswith(".ListRules"):
            return f"arn:aws:events:{region}:{account}:rule/*"
        return found

    iam_actions.extract_iam_action, iam_actions.extract_resource_arn = extract_iam_action, extract_resource_arn


def _take_requests_for_encrypted(app: Any) -> None:
    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _: pin(source_ip, True)


def _count_invocations(lambda_svc: Any) -> None:
    execute = lambda_svc._execute_function

    def execute_function(func: dict[str, Any], event: Any) -> Any:
        name = (func.get("config") or func).get("FunctionName", "")
        result = execute(func, event)
        failed = bool(isinstance(result, dict) and result.get("error"))
        _note("invocation", name, json.dumps(event).encode(), failed=failed)
        return result

    lambda_svc._execute_function = execute_function


def _note(kind: str, what: str, text: bytes, **more: Any) -> None:
    tag, stack = _TAG.search(text), _STACK.search(what.encode() + b" " + text)
    _LOG.append(
        {
            "kind": kind,
            "what": what,
            "tag": tag.group().decode() if tag else "",
            "stack": stack.group(1).decode() if stack else "",
            **more,
        }
    )


def _announced(app: Any, arguments: argparse.Namespace) -> Any:
    """Say when it is ready, and what next. Its port opens just after it has started up."""

    def say() -> None:
        while not _answers(arguments.port):
            time.sleep(0.05)
        enforced = "enforced" if arguments.auth else "not enforced"
        print(READY.format(host=HOST, port=arguments.port, enforced=enforced), end="", flush=True)

    async def announced(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                threading.Thread(target=say, name="announcement", daemon=True).start()

        await app(scope, receive, sent if scope["type"] == "lifespan" else send)

    return announced


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _logged(app: Any) -> Any:
    async def logged(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if scope["path"] == "/_polos/log":
            await _answer(send, scope["query_string"].decode())
            return
        body: list[bytes] = []

        async def received() -> Any:
            message = await receive()
            body.append(message.get("body", b""))
            return message

        await app(scope, received, send)
        _note("request", _operation(scope), b"".join(body) + scope["path"].encode())

    return logged


async def _answer(send: Any, query: str) -> None:
    text = json.dumps(_LOG[int(query or 0) :]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": text})


def _operation(scope: Any) -> str:
    """The service and operation of a request: as its target header says, or else its signature and method."""
    headers = dict(scope["headers"])
    target = headers.get(b"x-amz-target", b"").decode()
    if target:
        return target.split("_", 1)[0].removeprefix("Amazon").partition(".")[0].lower() + "." + target.split(".")[-1]
    signed = re.search(rb"Credential=[^/]+/\d+/[^/]+/([^/]+)/", headers.get(b"authorization", b""))
    return f"{signed.group(1).decode() if signed else 'unsigned'}.{scope['method']}"


if __name__ == "__main__":
    main()

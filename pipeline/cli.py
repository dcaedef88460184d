"""The command line: parses, reads the settings, and hands over to a command.

Imports stand in the commands, because spawned processes and quick commands pass through here.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import __version__
from pipeline.errors import EXIT_CONFIG, EXIT_DONE, CollectorError

if TYPE_CHECKING:
    from pipeline.config import Config

PROGRAM = "azure-collector"
DEFAULT_COMMAND = "run"
ENV_FILE = Path(".env")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        The exit code: 0 done, 1 unexpected failure, 2 bad usage or settings, 3 a dependency could
        not be reached, 4 a stage kept crashing.
    """
    _reach_loopback_directly()
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    options = parser.parse_args(_with_command(arguments))
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except CollectorError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 1
    except BrokenPipeError:  # the reader of our output went away, e.g. head
        sys.stderr.close()
        return 1


def _reach_loopback_directly() -> None:
    """No proxy of the environment for this machine itself: the sandbox is not behind it."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [*filter(None, known.split(",")), "127.0.0.1", "localhost"]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(names))


def _with_command(arguments: list[str]) -> list[str]:
    """``run`` where no command is named."""
    if arguments and arguments[0] in ("-h", "--help", "--version"):
        return arguments
    if not arguments or arguments[0].startswith("-"):
        return [DEFAULT_COMMAND, *arguments]
    return arguments


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def _run(options: argparse.Namespace) -> int:
    if options.profile == "local":
        from pipeline.commands.local_command import run_local

        return run_local(_overrides(options), ENV_FILE)
    # The supervisor will drain. Until it listens, nothing is held: that is a drain of nothing.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    from pipeline.commands.run_command import run_collector

    return run_collector(_config(options), until_empty=options.until_empty)


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(EXIT_DONE)


def _test_connection(options: argparse.Namespace) -> int:
    from pipeline.entry_points import COMMANDS, resolve

    # The vault is one of the things tried, so its secrets are not read beforehand.
    config = _config(options, needs=("queue", "arm"), resolve_secrets=False)
    code: int = resolve(COMMANDS["test_connection"])(config)
    return code


def _test_snowflake(options: argparse.Namespace) -> int:
    from pipeline.entry_points import COMMANDS, resolve

    code: int = resolve(COMMANDS["test_snowflake"])(_config(options, needs=("snowflake",)))
    return code


def _init_snowflake(options: argparse.Namespace) -> int:
    from pipeline.entry_points import COMMANDS, resolve

    needs = () if options.print else ("snowflake",)
    config = _config(options, needs=needs, resolve_secrets=not options.print)
    _log(config, "init-snowflake")
    init = resolve(COMMANDS["init_snowflake"])
    code: int = init(config, options.print, options.reader_role)
    return code


def _prune(options: argparse.Namespace) -> int:
    from pipeline.entry_points import COMMANDS, resolve

    config = _config(options, needs=("snowflake",))
    _log(config, "prune")
    code: int = resolve(COMMANDS["prune"])(config, dry_run=options.dry_run)
    return code


def _validate_config(options: argparse.Namespace) -> int:
    from pipeline.commands.config_commands import validate_config

    return validate_config(options.profile, _overrides(options), env_file=ENV_FILE)


def _show_config(options: argparse.Namespace) -> int:
    from pipeline.commands.config_commands import show_config

    config = _config(options, needs=(), resolve_secrets=False)
    return show_config(config, as_json=options.json)


def _send(options: argparse.Namespace) -> int:
    from pipeline.commands.message_commands import send
    from pipeline.entry_points import COMMANDS, resolve

    config = _config(options, needs=("queue",))
    _log(config, "send")
    return send(
        config,
        options.files,
        open_sender=resolve(COMMANDS["open_sender"]),
        as_base64=options.base64,
    )


def _validate_message(options: argparse.Namespace) -> int:
    from pipeline.commands.message_commands import validate_message

    return validate_message(options.files, allow_writes=options.allow_writes)


def _plan(options: argparse.Namespace) -> int:
    from pipeline.commands.plan_command import plan
    from pipeline.entry_points import COMMANDS, resolve

    asks = options.check_access
    config = _config(options, needs=("arm",) if asks else (), resolve_secrets=False)
    return plan(
        config,
        options.files,
        allow_writes=options.allow_writes,
        as_json=options.json,
        check_access=resolve(COMMANDS["check_access"]) if asks else None,
    )


def _examples(options: argparse.Namespace) -> int:
    from pipeline.commands.message_commands import list_examples, print_example

    if options.name is None:
        return list_examples()
    return print_example(options.name, options.subscription)


def _dead_letter(options: argparse.Namespace) -> int:
    from pipeline.entry_points import COMMANDS, resolve

    config = _config(options, needs=("queue",))
    _log(config, "dead-letter")
    command = resolve(COMMANDS[f"dead_letter_{options.action}"])
    taken = {name: getattr(options, name) for name in options.takes}
    code: int = command(config, queue=options.queue, **taken)
    return code


def _status(options: argparse.Namespace) -> int:
    from pipeline.commands.status_command import status

    # Asked on a host that need not be able to collect, so no other secret is opened for it.
    config = _config(options, needs=(), resolve_secrets=False)
    return status(config, as_json=options.json, watch_s=options.watch)


def _sandbox(options: argparse.Namespace) -> int:
    if options.query is not None:
        from pipeline.commands.query_command import query_sandbox

        return query_sandbox(options.data, options.query)
    from pipeline.commands.sandbox_command import run_sandbox

    arm = [
        part
        for name in ("subscriptions", "vms", "buckets", "latency_ms")
        if (value := getattr(options, name)) is not None
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    return run_sandbox(options.data, arm_options=arm)


# ── options ──────────────────────────────────────────────────────────────────────────────────────


def _config(
    options: argparse.Namespace,
    *,
    needs: Sequence[str] = ("queue", "arm", "snowflake"),
    resolve_secrets: bool = True,
) -> Config:
    from pipeline.config import load

    config = load(
        options.profile,
        _overrides(options),
        env_file=ENV_FILE,
        needs=needs,
        resolve_secrets=resolve_secrets,
    )
    for warning in config.warnings:
        print(f"{PROGRAM}: warning: {warning}", file=sys.stderr)
    return config


def _log(config: Config, name: str) -> None:
    from pipeline.logs import setup

    setup(config.log_level, config.log_format, name, to_stderr=True)


def _overrides(options: argparse.Namespace) -> dict[str, str]:
    overrides = {}
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            print(
                f"{PROGRAM}: --set takes NAME=value, e.g. --set BATCH_SIZE=500; got {name!r}",
                file=sys.stderr,
            )
            raise SystemExit(EXIT_CONFIG)
        overrides[name.strip().upper()] = value
    return overrides


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Collects Azure Resource Manager answers into Snowflake, whole and once.",
        epilog="Without a command: run. Settings come from --set, the environment, .env and the "
        "profile, in this order.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--profile", metavar="NAME", help="local, standard, high-throughput or low-memory"
    )
    settings.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, stronger than the environment; may be repeated",
    )

    def add(
        name: str, function: Callable[[argparse.Namespace], int], text: str, *, bare: bool = False
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, parents=[] if bare else [settings]
        )
        command.set_defaults(command=function)
        return command

    run = add("run", _run, "run the collector (the default command)")
    run.add_argument(
        "--until-empty",
        action="store_true",
        help="exit 0 once the queue is empty and everything collected is loaded",
    )
    add("test-connection", _test_connection, "try queue, Key Vault, token and one ARM call")
    add("test-snowflake", _test_snowflake, "try connection, warehouse, grants and a scratch table")
    add("validate-config", _validate_config, "name every problem of the settings at once")
    show = add("show-config", _show_config, "show the settings in force, and where from")
    show.add_argument("--json", action="store_true", help="as JSON")
    send = add("send", _send, "check messages and put them into the queue")
    send.add_argument("files", metavar="FILE", nargs="+", help="JSON or JSON Lines; - for stdin")
    send.add_argument("--base64", action="store_true", help="store the messages as base64")
    check = add("validate-message", _validate_message, "check messages only", bare=True)
    check.add_argument("files", metavar="FILE", nargs="+", help="JSON or JSON Lines; - for stdin")
    check.add_argument("--allow-writes", action="store_true", help="as with ALLOW_WRITES=true")
    plan = add(
        "plan",
        _plan,
        "tell what messages would cost and what would be refused; calls nothing by itself",
    )
    plan.add_argument("files", metavar="FILE", nargs="+", help="JSON or JSON Lines; - for stdin")
    plan.add_argument("--allow-writes", action="store_true", help="as with ALLOW_WRITES=true")
    plan.add_argument("--json", action="store_true", help="as JSON")
    plan.add_argument(
        "--check-access",
        action="store_true",
        help="ask ARM what the identity may do in each subscription, one call each",
    )
    plan.epilog = (
        "Exit codes: 0 all fine; 2 a message would be refused, or a file cannot be read; 3 with "
        "--check-access, ARM gave no answer, there is no token, or a permission is missing."
    )
    examples = add("examples", _examples, "list message templates, or print one", bare=True)
    examples.add_argument("name", metavar="NAME", nargs="?", help="a service, e.g. compute")
    examples.add_argument("--subscription", metavar="ID", help="subscription id to fill in")
    init = add("init-snowflake", _init_snowflake, "create or migrate tables and views")
    init.add_argument("--print", action="store_true", help="only show the SQL")
    init.add_argument("--reader-role", metavar="ROLE", help="let this role read all of it")
    prune = add("prune", _prune, "delete history that is older than RETENTION_DAYS")
    prune.add_argument("--dry-run", action="store_true", help="only count what would go")
    status = add("status", _status, "show what a running collector is doing now")
    status.add_argument("--json", action="store_true", help="as JSON, one line each time")
    status.add_argument("--watch", metavar="SECONDS", type=_seconds, help="show it again and again")
    _add_dead_letter(
        add("dead-letter", _dead_letter, "list, show, replay or purge poison messages", bare=True),
        settings,
    )
    _add_sandbox(add("sandbox", _sandbox, "keep the sandbox running", bare=True))
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("takes 0.1 to 3600 seconds")
    return seconds


def _add_dead_letter(parser: argparse.ArgumentParser, settings: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, text: str, *takes: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text, parents=[settings])
        action.set_defaults(action=name, takes=takes)
        action.add_argument(
            "--queue",
            metavar="NAME",
            help="whose poison queue; all of AZURE_QUEUE_NAME if not given",
        )
        return action

    listing = add("list", "show what stands in the poison queue, and why", "as_json")
    listing.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    show = add("show", "show one envelope and its original", "message_id", "only_original")
    show.add_argument("message_id", metavar="ID", help="as `list` shows it")
    show.add_argument(
        "--original", dest="only_original", action="store_true", help="only the original text"
    )
    replay = add("replay", "put originals back into their queue", "ids", "every", "reason")
    purge = add("purge", "delete poison messages for good", "ids", "every", "reason", "yes")
    for action in (replay, purge):
        action.add_argument("ids", metavar="ID", nargs="*", help="as `list` shows it")
        action.add_argument("--all", dest="every", action="store_true", help="every message")
        action.add_argument(
            "--reason", metavar="TEXT", help="with --all: only those with this in their reason"
        )
    purge.add_argument("--yes", action="store_true", help="delete; else it only counts")


def _add_sandbox(sandbox: argparse.ArgumentParser) -> None:
    sandbox.add_argument("--data", metavar="DIR", type=Path, help="keep the sandbox's data here")
    sandbox.add_argument("--query", metavar="SQL", help="query the tables in --data, and end")
    sandbox.add_argument("--subscriptions", type=int, metavar="N", help="of the simulated tenant")
    sandbox.add_argument("--vms", type=int, metavar="N", help="virtual machines a subscription")
    sandbox.add_argument("--buckets", choices=("on", "off"), help="ARM's rate limits")
    sandbox.add_argument("--latency-ms", type=float, metavar="MS", help="of each answer")

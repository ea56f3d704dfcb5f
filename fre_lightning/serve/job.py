"""A server from configuration to shutdown."""

import ipaddress
import logging
import socket

from omegaconf import DictConfig

from fre_lightning.errors import ConfigError
from fre_lightning.ood.loading import load

try:
    import uvicorn

    from fre_lightning.serve.app import create_app
    from fre_lightning.serve.limits import Limits
except ImportError as error:
    _message = f'{error.name} is not installed. Run: pip install "fre-lightning[serve]"'
    raise ConfigError(_message) from error

log = logging.getLogger(__name__)

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_GRACE_SECONDS = 10


def run(cfg: DictConfig) -> None:
    """Serve until interrupted.

    Args:
        cfg: As composed from `configs/serve.yaml`.

    Raises:
        FREError: For any error that the user can fix.
    """
    for name, lowest in (("max_upload_mb", 1), ("max_pixels", 1), ("max_waiting", 0)):
        if cfg[name] < lowest:
            msg = f"{name}={cfg[name]} must be at least {lowest}."
            raise ConfigError(msg)
    hosts = find_allowed_hosts(cfg.host, cfg.allowed_hosts)
    listener = listen(cfg.host, cfg.port)
    detector = load(
        cfg.checkpoint,
        device=cfg.device,
        false_alarm_rate=cfg.false_alarm_rate,
        threshold=cfg.threshold,
        n_threads=cfg.n_threads,
        method=cfg.method,
        program=cfg.program,
    )
    limits = Limits(
        max_upload_bytes=int(cfg.max_upload_mb * 2**20),
        max_pixels=int(cfg.max_pixels),
        max_requests=detector.n_threads + cfg.max_waiting,
    )
    app = create_app(detector, limits, hosts)
    log.info("%s, on %s", detector.description, detector.device)
    if not is_loopback(cfg.host):
        log.warning("All who can reach %s can send images: there is no password.", cfg.host)
    port = listener.getsockname()[1]
    log.info("Open http://%s:%d (Ctrl-C ends it)", _in_url(cfg.host), port)
    settings = uvicorn.Config(
        app, log_config=None, timeout_graceful_shutdown=_GRACE_SECONDS, server_header=False
    )
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    except SystemExit:  # uvicorn has ended in order, and raises the signal again
        log.info("Ended.")


def listen(host: str, port: int) -> socket.socket:
    """Take a port; called first, because the rest is slow.

    Raises:
        ConfigError: If it is taken, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        msg = f"{host}:{port} cannot be listened on ({error}). Choose another host or port."
        raise ConfigError(msg) from error


def find_allowed_hosts(host: str, allowed_hosts: list[str] | None) -> list[str] | None:
    """The host names that requests to a server may use; None: any.

    Raises:
        ConfigError: If a name has a `*` where Starlette accepts none.
    """
    if allowed_hosts is None and not is_loopback(host):
        return None
    names = [*_LOOPBACK_NAMES, host] if allowed_hosts is None else allowed_hosts
    for name in names:
        if name != "*" and "*" in name.removeprefix("*."):
            msg = f"allowed_hosts={name}: a * stands alone or at the start, as in *.example.org."
            raise ConfigError(msg)
    return [_in_url(name) for name in names]


def is_loopback(host: str) -> bool:
    """Whether an address is this computer's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

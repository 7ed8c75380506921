"""Which host names and web pages may use the server: pages of other sites only if they are allowed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from refineseg.errors import InputError
from refineseg.serving.problems import Problem

ANY = "*"
NAME = re.compile(r"[a-z0-9._-]+", re.IGNORECASE)
HOST = re.compile(rf"(\[[0-9a-f:.]+\]|{NAME.pattern})(:[0-9]{{1,5}})?", re.IGNORECASE)  # RFC 9110, section 7.2
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # RFC 9110, section 9.2.1


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    A foreign name in the Host header is a sign of DNS rebinding: the name of a web page was made to resolve to
    this machine, so that the browser takes the server for the page's own.

    Raises InputError for a host with a port or a path, and for an origin that is not ``http(s)://NAME[:PORT]``.
    """

    # address that the server listens on; if that is every address (0.0.0.0), any IP address is allowed as a host,
    # since an address cannot be rebound
    bound: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()  # further allowed host names; ``*`` allows all
    # other web pages that may use the server, such as ``https://example.org``; ``*`` allows all
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for host in self.hosts:
            if host != ANY and not NAME.fullmatch(host) and _address(host) is None:
                raise InputError(f"expected --allow-host as a name or an address without a port, got {host!r}")
        for origin in self.origins:
            parts = urlsplit(origin)
            exact = f"{parts.scheme}://{parts.netloc}" == origin and HOST.fullmatch(parts.netloc)
            if origin != ANY and not (exact and parts.scheme in ("http", "https")):
                raise InputError(f"expected --allow-origin such as https://example.org, got {origin!r}")

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise Problem: 421 for the name of another host, 403 for a request from another site's page.

        Only browsers send Origin and Sec-Fetch-Site, and scripts cannot change them. Safe methods are let through,
        since browsers keep their answers from pages of other origins.
        """
        host = headers.get("host", "")
        if not self.allows_host(host):
            raise Problem(
                421, f"expected a host name of this server, got {host[:80]!r}: start it with --allow-host NAME"
            )
        if method not in SAFE_METHODS and not self._allows_page(host, headers):
            origin = headers.get("origin", "another site")
            raise Problem(
                403,
                f"expected a request from this server's own page, got one from {origin[:80]!r}: start the server "
                "with --allow-origin ORIGIN to let that page use it",
            )

    def allows_host(self, host: str) -> bool:
        """Whether a Host header names this server; the port is ignored."""
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower().removesuffix(".")
        if ANY in self.hosts or name in {host.lower() for host in (self.bound, *self.hosts)}:
            return True
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: always loopback
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or self.bound in ("0.0.0.0", "::", ""))

    def _allows_page(self, host: str, headers: Mapping[str, str]) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and (ANY in self.origins or origin in self.origins):
            return True
        if site is not None:
            return site in ("same-origin", "none")
        # Older browsers, and newer ones over plain HTTP, send Origin alone.
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def is_loopback(host: str) -> bool:
    """Whether the address can be reached from this machine only."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None

"""The proxies that the environment names, for downloads that are to go through them.

`http_proxy`, `https_proxy` and `no_proxy` are read, in lower or upper case, as by curl and urllib. Credentials stay
in the environment: they are in no message and in no record.
"""

from __future__ import annotations

import os
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_SCHEMES = frozenset({"http", "https"})


class ProxyError(ValueError):
    """The environment names a proxy that cannot be used."""


def variables_set() -> list[str]:
    """Names of the variables that name a proxy."""
    return [name for name in VARIABLES if os.environ.get(name)]


class Proxies:
    """Which proxy a request goes through."""

    def __init__(self, *, is_used: bool) -> None:
        """Read the environment if it counts. Raises `ProxyError`."""
        found = getproxies_environment() if is_used else {}
        self._proxy_of = {scheme: _parsed(scheme, found[scheme]) for scheme in _SCHEMES if found.get(scheme)}
        self.hosts = frozenset(proxy.raw_host or "" for proxy in self._proxy_of.values())

    def __bool__(self) -> bool:
        return bool(self._proxy_of)

    def of(self, url: URL) -> URL | None:
        """The proxy for an URL, or None when it is to be asked for directly."""
        proxy = self._proxy_of.get(url.scheme)
        if proxy is None or proxy_bypass(f"{url.raw_host}:{url.port}"):
            return None
        return proxy


def _parsed(scheme: str, text: str) -> URL:
    try:
        proxy = URL(text if "://" in text else f"http://{text}")
        is_usable = proxy.scheme in _SCHEMES and bool(proxy.raw_host)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ProxyError(
            f"{scheme}_proxy in the environment is no http or https proxy; expected http://HOST:PORT, or set "
            "proxy_from_environment = false"
        )
    return proxy

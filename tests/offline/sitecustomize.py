"""No network: Python loads this file first in every process that has its folder on PYTHONPATH."""

import socket

LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "", None}


def _refuse(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOOPBACK and host != socket.gethostname():
        raise PermissionError(f"Tests use no network, but something asked for {host!r}.")


def _guarded(connect):
    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse(address[0])
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup):
    def guarded(host, *arguments, **options):
        _refuse(host)
        return lookup(host, *arguments, **options)

    return guarded


if not hasattr(socket, "without_network"):
    socket.without_network = True
    socket.socket.connect = _guarded(socket.socket.connect)
    socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
    socket.getaddrinfo = _guarded_lookup(socket.getaddrinfo)
    socket.gethostbyname = _guarded_lookup(socket.gethostbyname)

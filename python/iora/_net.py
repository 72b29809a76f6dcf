"""Connecting and listening: what a loop does once for each connection or server."""

import asyncio
import errno
import functools
import itertools
import os
import socket
import stat
import sys
from asyncio import staggered
from asyncio.log import logger
from collections import abc, defaultdict

from ._server import Server


# Whether a Unix server's path goes with it, unless the caller says: as the version's own loop does.
_CLEANS_UP = sys.version_info >= (3, 13)


def _interleave(infos, first_family_count):
    """Addresses by turns of their families; of the first family, so many come first."""
    families = defaultdict(list)
    for info in infos:
        families[info[0]].append(info)
    lists = list(families.values())
    head = lists[0][:first_family_count - 1]
    lists[0] = lists[0][first_family_count - 1:]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*lists))
    return head + [info for info in turns if info is not None]


def _check_ssl_arguments(ssl, **meaningless_without):
    if ssl:
        raise NotImplementedError("iora has no TLS yet")
    for name, value in meaningless_without.items():
        if value is not None:
            raise ValueError(f"{name} is only meaningful with ssl")


def _check_stream(sock):
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def _check_unix_stream(sock):
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def _set_reuse_port(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except (AttributeError, OSError):
        raise ValueError("reuse_port not supported by socket module") from None


def _raise_all(exceptions, all_errors):
    """Of the failures to connect: the only one, or one that says what all say."""
    flat = [exc for some in exceptions for exc in some]
    try:
        if all_errors:
            raise ExceptionGroup("create_connection failed", flat)
        if len({str(exc) for exc in flat}) == 1:
            raise flat[0]
        raise OSError(f"Multiple exceptions: {', '.join(map(str, flat))}")
    finally:
        flat = exceptions = None


def _remove_path(path, inode):
    """Unlink a socket, if the path is still its."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        logger.error("Unable to clean up listening UNIX socket %r: %r", path, exc)


def _remove_stale_socket(path):
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as exc:
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)


def _is_abstract(path):
    return path[0] in (0, "\x00") if path else True


class Net:
    """The part of the loop that makes transports and servers."""

    async def _connect_one(self, failures, info, local_infos):
        mine = []
        failures.append(mine)
        family, kind, proto, _, address = info
        sock = None
        try:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            if local_infos is not None:
                self._bind_one(sock, local_infos, mine)
            await self._connect(sock, address)
            return sock
        except BaseException as exc:
            if sock is not None:
                sock.close()
            if isinstance(exc, OSError):
                mine.append(exc)
            raise
        finally:
            failures = mine = None  # the exceptions refer to this frame

    def _bind_one(self, sock, local_infos, failures):
        for family, _, _, _, address in local_infos:
            if family != sock.family:
                continue
            try:
                sock.bind(address)
                return
            except OSError as exc:
                failures.append(OSError(exc.errno, "error while attempting to bind on address "
                                                   f"{address!r}: {exc.strerror.lower()}"))
        if failures:
            raise failures.pop()
        raise OSError(f"no matching local address with family={sock.family} found")

    async def _look_up(self, address, **how):
        infos = await self._resolve(address, **how)
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        return infos

    async def _connect_to_any(self, infos, local_infos, delay, all_errors):
        failures = []
        try:
            if delay is None:
                for info in infos:
                    try:
                        return await self._connect_one(failures, info, local_infos)
                    except OSError:
                        continue
            else:
                sock, _, _ = await staggered.staggered_race(
                    (functools.partial(self._connect_one, failures, info, local_infos)
                     for info in infos), delay, loop=self)
                if sock is not None:
                    return sock
            _raise_all(failures, all_errors)
        finally:
            failures = None

    async def create_connection(self, protocol_factory, host=None, port=None, *, ssl=None,
                                family=0, proto=0, flags=0, sock=None, local_addr=None,
                                server_hostname=None, ssl_handshake_timeout=None,
                                ssl_shutdown_timeout=None, happy_eyeballs_delay=None,
                                interleave=None, all_errors=False):
        """Connect to a host and port, or take a connected socket: (transport, protocol)."""
        _check_ssl_arguments(ssl, server_hostname=server_hostname,
                             ssl_handshake_timeout=ssl_handshake_timeout,
                             ssl_shutdown_timeout=ssl_shutdown_timeout)
        if sock is not None:
            self._refuse_ssl_socket(sock)
        if happy_eyeballs_delay is not None and interleave is None:
            interleave = 1
        if host is None and port is None:
            if sock is None:
                raise ValueError("host and port was not specified and no sock specified")
            _check_stream(sock)
        elif sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        else:
            how = {"family": family, "type": socket.SOCK_STREAM, "proto": proto, "flags": flags}
            infos = await self._look_up((host, port), **how)
            local_infos = None if local_addr is None else await self._look_up(local_addr, **how)
            if interleave:
                infos = _interleave(infos, interleave)
            found = await self._connect_to_any(infos, local_infos, happy_eyeballs_delay, all_errors)
        return await self._connected(sock or found, protocol_factory, sock is None)

    async def _connected(self, sock, protocol_factory, is_ours):
        sock.setblocking(False)
        waiter = self.create_future()
        try:
            protocol = protocol_factory()
            transport = self._make_transport(sock, protocol, waiter, None, None)
        except BaseException:
            if is_ours:
                sock.close()
            raise
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        if self._debug:
            logger.debug("%r connected: (%r, %r)", sock, transport, protocol)
        return transport, protocol

    async def connect_accepted_socket(self, protocol_factory, sock, *, ssl=None,
                                      ssl_handshake_timeout=None, ssl_shutdown_timeout=None):
        """Make a transport of a connection that was accepted elsewhere: (transport, protocol)."""
        _check_stream(sock)
        _check_ssl_arguments(ssl, ssl_handshake_timeout=ssl_handshake_timeout,
                             ssl_shutdown_timeout=ssl_shutdown_timeout)
        self._refuse_ssl_socket(sock)
        return await self._connected(sock, protocol_factory, False)

    async def create_unix_connection(self, protocol_factory, path=None, *, ssl=None, sock=None,
                                     server_hostname=None, ssl_handshake_timeout=None,
                                     ssl_shutdown_timeout=None):
        """Connect to a Unix socket: (transport, protocol)."""
        if ssl and server_hostname is None:
            raise ValueError("you have to pass server_hostname when using ssl")
        _check_ssl_arguments(ssl, server_hostname=server_hostname,
                             ssl_handshake_timeout=ssl_handshake_timeout,
                             ssl_shutdown_timeout=ssl_shutdown_timeout)
        if path is None:
            if sock is None:
                raise ValueError("no path and sock were specified")
            _check_unix_stream(sock)
        elif sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        else:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.setblocking(False)
                await self.sock_connect(sock, os.fspath(path))
            except BaseException:
                sock.close()
                raise
        return await self._connected(sock, protocol_factory, path is not None)

    # ---- listening ------------------------------------------------------------------------------

    def _listening_socket(self, info, reuse_address, reuse_port, keep_alive):
        """A bound socket; None if this machine has none of that kind."""
        family, kind, proto, _, address = info
        try:
            sock = socket.socket(family, kind, proto)
        except OSError:
            if self._debug:
                logger.warning("create_server() failed to create socket.socket(%r, %r, %r)",
                               family, kind, proto, exc_info=True)
            return None
        try:
            if reuse_address:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            if reuse_port:
                _set_reuse_port(sock)
            if keep_alive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
            sock.bind(address)
        except OSError as exc:
            sock.close()
            raise OSError(exc.errno, "error while attempting to bind on address "
                                     f"{address!r}: {str(exc.strerror).lower()}") from None
        except BaseException:
            sock.close()
            raise
        return sock

    async def _listening_sockets(self, host, port, family, flags, options):
        if host == "":
            hosts = [None]
        elif isinstance(host, str) or not isinstance(host, abc.Iterable):
            hosts = [host]
        else:
            hosts = host
        found = await asyncio.gather(*(
            self._resolve((one, port), family=family, flags=flags) for one in hosts))
        for one, infos in zip(hosts, found):
            if not infos:
                raise OSError(f"getaddrinfo({one!r}) returned empty list")
        sockets = []
        try:
            for info in dict.fromkeys(itertools.chain.from_iterable(found)):
                sock = self._listening_socket(info, **options)
                if sock is not None:
                    sockets.append(sock)
            if not sockets:
                raise OSError(f"could not bind on any address out of {found!r}")
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    async def create_server(self, protocol_factory, host=None, port=None, *,
                            family=socket.AF_UNSPEC, flags=socket.AI_PASSIVE, sock=None,
                            backlog=100, ssl=None, reuse_address=None, reuse_port=None,
                            keep_alive=None, ssl_handshake_timeout=None,
                            ssl_shutdown_timeout=None, start_serving=True):
        """Listen on a host (or several, or all) and port, or on a bound socket: a Server."""
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        _check_ssl_arguments(ssl, ssl_handshake_timeout=ssl_handshake_timeout,
                             ssl_shutdown_timeout=ssl_shutdown_timeout)
        if sock is not None:
            self._refuse_ssl_socket(sock)
        if host is None and port is None:
            if sock is None:
                raise ValueError("Neither host/port nor sock were specified")
            _check_stream(sock)
            sockets = [sock]
        elif sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        else:
            sockets = await self._listening_sockets(host, port, family, flags, {
                "reuse_address": reuse_address in (None, True),
                "reuse_port": reuse_port,
                "keep_alive": keep_alive,
            })
        return await self._serve(sockets, protocol_factory, backlog, start_serving)

    async def _serve(self, sockets, protocol_factory, backlog, start_serving, paths=()):
        for sock in sockets:
            sock.setblocking(False)
        server = Server(self, sockets, protocol_factory, backlog, paths)
        if start_serving:
            await server.start_serving()
        if self._debug:
            logger.info("%r is serving", server)
        return server

    async def create_unix_server(self, protocol_factory, path=None, *, sock=None, backlog=100,
                                 ssl=None, ssl_handshake_timeout=None, ssl_shutdown_timeout=None,
                                 start_serving=True, cleanup_socket=_CLEANS_UP):
        """Listen on a Unix socket: a Server."""
        if isinstance(ssl, bool):
            raise TypeError("ssl argument must be an SSLContext or None")
        _check_ssl_arguments(ssl, ssl_handshake_timeout=ssl_handshake_timeout,
                             ssl_shutdown_timeout=ssl_shutdown_timeout)
        if path is None:
            if sock is None:
                raise ValueError("path was not specified, and no sock specified")
            _check_unix_stream(sock)
        elif sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        else:
            sock = self._unix_listening_socket(os.fspath(path))
        paths = []
        if cleanup_socket and not _is_abstract(name := sock.getsockname()):
            try:
                paths.append(functools.partial(_remove_path, name, os.stat(name).st_ino))
            except FileNotFoundError:
                pass
        return await self._serve([sock], protocol_factory, backlog, start_serving, paths)

    def _unix_listening_socket(self, path):
        if not _is_abstract(path):
            _remove_stale_socket(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
        except OSError as exc:
            sock.close()
            if exc.errno == errno.EADDRINUSE:
                raise OSError(exc.errno, f"Address {path!r} is already in use") from None
            raise
        except BaseException:
            sock.close()
            raise
        return sock

"""The live page's server: answers this machine alone, reads only, and tells open pages of every new round."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from idealflow.errors import ArtifactError, InputError, MissingExtraError
from idealflow.report.live.campaigns import SLOW, Stamp, Watched
from idealflow.report.page import rendered
from idealflow.report.sections.collect import SECTIONS

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["LOOPBACK", "POLL_S", "application", "bound", "serve"]

LOOPBACK = "127.0.0.1"
#: seconds between two looks at the store: a new round is on the page well within two
POLL_S = 0.5
_USUAL_PORT = 8765
_NEEDS = "the live page needs starlette and uvicorn: pip install 'idealflow[watch]'"

Answer = Callable[["Request"], Coroutine[Any, Any, "Response"]]


class News:
    """What is known of the campaigns, and who waits for it to change.

    Parameters
    ----------
    watched
        The campaigns.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._changed = asyncio.Condition()
        self.stamps: dict[str, Stamp] | None = None  # before the first look

    async def look(self) -> None:
        """Look for changes until cancelled; a store that does not answer for a while is asked again."""
        while True:
            try:
                found: dict[str, Stamp] | None = {stamp.name: stamp for stamp in await self._watched.stamps()}
            except (ArtifactError, OSError, InputError):
                found = self.stamps
            if found != self.stamps:
                async with self._changed:
                    self.stamps = found
                    self._changed.notify_all()
            await asyncio.sleep(POLL_S)

    async def next(self, known: dict[str, Stamp] | None) -> dict[str, Stamp] | None:
        """Return the stamps as soon as they differ from those known, and after a while in any case."""
        async with self._changed:
            if self.stamps == known:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), timeout=POLL_S)
            return self.stamps


def application(watched: Watched, ended: Callable[[], bool] = lambda: False) -> Starlette:
    """Build the web application; it answers GET requests for this machine's own addresses and no others.

    Parameters
    ----------
    watched
        What is watched.
    ended
        Function that says whether the server is about to end, so that open streams are closed.

    Raises
    ------
    MissingExtraError
        Without starlette, which the extra ``watch`` brings.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> watched = Watched.folder(sample_campaign().folder.path)
    >>> [route.path for route in application(watched).routes][:2]
    ['/', '/campaigns']
    >>> watched.close()
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route
    except ImportError as error:
        raise MissingExtraError(_NEEDS) from error

    news = News(watched)
    answers = _Answers(watched, news, ended)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(news.look())
        yield
        looking.cancel()
        watched.close()

    paths = {"/": answers.page, "/campaigns": answers.campaigns, "/events": answers.events}
    paths |= {f"/{what}": answers.of(what) for what in ("head", "gallery", "section", "substructure")}
    return Starlette(
        routes=[Route(path, answer) for path, answer in paths.items()],
        # a page of another site cannot ask in this machine's name: it would have to send its own host
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])],
        lifespan=lifespan,
    )


class _Answers:
    """What the server answers; all of it is read from the store."""

    def __init__(self, watched: Watched, news: News, ended: Callable[[], bool]) -> None:
        self._watched, self._news, self._ended = watched, news, ended

    async def page(self, _: Request) -> Response:
        from starlette.responses import HTMLResponse

        return HTMLResponse(
            rendered({"head": {"title": "watch"}, "sections": list(SECTIONS), "slow": sorted(SLOW)}, ("live.js",))
        )

    async def campaigns(self, _: Request) -> Response:
        from starlette.responses import JSONResponse

        return JSONResponse([stamp.as_json() for stamp in await self._watched.stamps()])

    def of(self, what: str) -> Answer:
        """The answer about one part of one campaign, which the address names."""
        from starlette.responses import JSONResponse

        async def answer(request: Request) -> Response:
            asked = dict(request.query_params)
            name = asked.pop("campaign", "")
            try:
                if name not in {stamp.name for stamp in await self._watched.stamps()}:
                    raise LookupError(f"no campaign is named {name!r}")
                return JSONResponse(await getattr(self._watched, what)(name, **asked))
            except (
                LookupError,
                TypeError,
            ) as error:  # no such campaign, section or substructure; or not asked for by its name
                return JSONResponse({"error": str(error)}, status_code=404)

        return answer

    async def events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        async def stream() -> AsyncIterator[str]:
            known: dict[str, Stamp] | None = None
            while not self._ended() and not await request.is_disconnected():
                stamps = await self._news.next(known)
                if stamps is not None and stamps != known:
                    yield f"data: {json.dumps([stamp.as_json() for stamp in stamps.values()])}\n\n"
                    known = stamps

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def bound(port: int | None) -> socket.socket:
    """Bind a port of this machine alone; None: the usual one, or where that is taken any free one.

    Raises
    ------
    InputError
        If the port is taken or not allowed.

    Examples
    --------
    >>> with bound(0) as listening:
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, _USUAL_PORT if port is None else port))
        listening.listen()  # who asks before the server runs is answered, not refused
    except (OSError, OverflowError) as error:
        listening.close()
        if port is None:
            return bound(0)
        raise InputError(
            f"port {port} cannot be used ({getattr(error, 'strerror', None) or error}); choose another with --port"
        ) from error
    return listening


def serve(watched: Watched, listening: socket.socket) -> None:
    """Serve the live page until the process is told to end.

    Parameters
    ----------
    watched
        What is watched; its threads end with the server.
    listening
        The port, as :func:`bound` gives it.

    Examples
    --------
    >>> from idealflow.cli.parser import parser
    >>> parser().parse_args(["watch", "cu-melt", "--port", "8000"]).command.__name__
    'watch'
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(_NEEDS) from error

    server: uvicorn.Server | None = None

    def ended() -> bool:
        return server is not None and server.should_exit

    config = uvicorn.Config(application(watched, ended), log_level="warning", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    with listening, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has ended
        server.run(sockets=[listening])

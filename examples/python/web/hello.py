"""A web server of aiohttp's that says hello: python hello.py PORT"""

import sys

from aiohttp import web


async def hello(request):
    return web.Response(text="Hello, world\n")


app = web.Application()
app.router.add_get("/", hello)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)

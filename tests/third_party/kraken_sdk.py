"""python-kraken-sdk against a Kraken WebSocket API v2 server, as a user of it would write it.

    python kraken_sdk.py --http http://127.0.0.1:9002 --ws ws://127.0.0.1:9002 --key KEY --secret SECRET

Streams best prices, trades and a book (the SDK checks its checksum), then places, follows and
cancels an order. With --control the mock cuts a connection and the SDK must find its way back to
its subscriptions. Exits 0 when all of it worked, 1 with the reason otherwise. The market must move.
"""

import argparse
import asyncio
import json
import sys
import time
import urllib.request

from kraken.base_api import SpotClient
from kraken.spot import SpotOrderBookClient, SpotWSClient

PAIR = "BTC/USD"
LIMIT_SECONDS = 60


class Feed(SpotWSClient):
    """Keeps every message and lets the script wait for one."""

    def __init__(self, *args, **kwargs):
        self.messages = []
        self.arrived = asyncio.Condition()
        super().__init__(*args, **kwargs)

    async def on_message(self, message):
        async with self.arrived:
            self.messages.append(message)
            self.arrived.notify_all()

    async def wait_for(self, what, wanted, seconds=20):
        def found():
            return next((m for m in self.messages if wanted(m)), None)

        async with self.arrived:
            try:
                await asyncio.wait_for(self.arrived.wait_for(lambda: found() is not None), seconds)
            except TimeoutError:
                last = self.messages[-5:]
                raise AssertionError(f"no {what} within {seconds} s; the last messages: {last}") from None
        return found()


def is_channel(message, channel, kind=None):
    return message.get("channel") == channel and kind in (None, message.get("type"))


def report(exec_type):
    def wanted(message):
        return message.get("channel") == "executions" and any(
            element["exec_type"] == exec_type for element in message["data"]
        )

    return wanted


async def market_data(arguments):
    feed = Feed(rest_url=arguments.http, ws_url=arguments.ws)
    await feed.start()
    await feed.subscribe(params={"channel": "ticker", "symbol": [PAIR], "event_trigger": "bbo"})
    await feed.subscribe(params={"channel": "trade", "symbol": [PAIR]})
    ticker = await feed.wait_for("ticker update", lambda m: is_channel(m, "ticker", "update"))
    best = ticker["data"][0]
    assert 0 < best["bid"] < best["ask"], best
    trade = await feed.wait_for("trade", lambda m: is_channel(m, "trade", "update"))
    assert trade["data"][0]["side"] in ("buy", "sell"), trade
    await feed.wait_for("pong", lambda m: m.get("method") == "pong")
    names = [subscription["channel"] for subscription in feed.active_public_subscriptions]
    assert names == ["ticker", "trade"], names
    await feed.unsubscribe(params={"channel": "trade", "symbol": [PAIR]})
    await feed.wait_for(
        "end of trades", lambda m: m.get("method") == "unsubscribe" and m.get("success") is True
    )
    await feed.close()
    return best


async def order_book(arguments):
    SpotClient.URL = arguments.http
    SpotOrderBookClient.WS_URL = arguments.ws
    updates = asyncio.Queue(maxsize=1000)

    def on_update(pair, message):
        if not updates.full():
            updates.put_nowait(message)

    book = SpotOrderBookClient(depth=10, callback=on_update)
    await book.start()
    await book.add_book(pairs=[PAIR])
    for _ in range(50):
        message = await asyncio.wait_for(updates.get(), 20)
        assert "error" not in message, message
        assert book.get(PAIR)["valid"], "the checksum differs"
    await book.remove_book(pairs=[PAIR])
    await book.close()


async def orders(arguments, best):
    feed = Feed(
        key=arguments.key,
        secret=arguments.secret,
        no_public=True,
        rest_url=arguments.http,
        auth_ws_url=arguments.ws,
    )
    await feed.start()
    await feed.subscribe(params={"channel": "executions", "snap_orders": True})
    await feed.wait_for("snapshot", lambda m: is_channel(m, "executions", "snapshot"))
    await feed.subscribe(params={"channel": "balances"})
    await feed.wait_for("balances", lambda m: is_channel(m, "balances", "snapshot"))

    client_id = f"sdk-{int(time.time())}"
    order = {
        "symbol": PAIR,
        "side": "buy",
        "order_type": "limit",
        "order_qty": 0.01,
        "limit_price": round(best["bid"] * 0.8, 1),
        "cl_ord_id": client_id,
    }
    await feed.send_message({"method": "add_order", "params": order, "req_id": 1})
    placed = await feed.wait_for("answer", lambda m: m.get("req_id") == 1)
    assert placed["success"] is True, placed
    order_id = placed["result"]["order_id"]
    await feed.wait_for("report new", report("new"))
    await feed.send_message(
        {"method": "cancel_order", "params": {"order_id": [order_id]}, "req_id": 2}
    )
    cancelled = await feed.wait_for("answer", lambda m: m.get("req_id") == 2)
    assert cancelled["success"] is True, cancelled
    await feed.wait_for("report canceled", report("canceled"))

    order.update(limit_price=round(best["ask"] * 1.05, 1), cl_ord_id=f"{client_id}-2")
    await feed.send_message({"method": "add_order", "params": order, "req_id": 3})
    taken = await feed.wait_for("answer", lambda m: m.get("req_id") == 3)
    assert taken["success"] is True, taken
    await feed.wait_for("report filled", report("filled"))
    await feed.wait_for("ledger entry", lambda m: is_channel(m, "balances", "update"))

    order.update(order_qty=10_000_000, cl_ord_id=f"{client_id}-3")
    await feed.send_message({"method": "add_order", "params": order, "req_id": 4})
    refused = await feed.wait_for("refusal", lambda m: m.get("req_id") == 4)
    assert refused["success"] is False, refused
    assert refused["error"].startswith("EOrder:Insufficient funds"), refused
    assert not feed.exception_occur, "the SDK's connection failed"
    await feed.close()


async def reconnect(arguments):
    feed = Feed(rest_url=arguments.http, ws_url=arguments.ws)
    await feed.start()
    await feed.subscribe(params={"channel": "book", "symbol": [PAIR], "depth": 25})
    await feed.wait_for("book", lambda m: is_channel(m, "book", "update"))
    feed.messages.clear()
    fault = {"exchange": "kraken", "action": {"drop": {"how": "rst"}}}
    request = urllib.request.Request(
        f"{arguments.control}/faults", json.dumps(fault).encode(), method="POST"
    )
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).close())
    again = await feed.wait_for("subscription anew", lambda m: m.get("method") == "subscribe")
    assert again["success"] is True and again["result"]["depth"] == 25, again
    await feed.wait_for("snapshot anew", lambda m: is_channel(m, "book", "snapshot"))
    await feed.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--http", required=True, help="base URL of REST, without a path")
    parser.add_argument("--ws", required=True, help="base URL of the WebSocket, without a path")
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--control", help="base URL of the mock's control port, without a path")
    arguments = parser.parse_args()
    best = await market_data(arguments)
    await order_book(arguments)
    await orders(arguments, best)
    if arguments.control:
        await reconnect(arguments)


if __name__ == "__main__":
    try:
        asyncio.run(asyncio.wait_for(main(), LIMIT_SECONDS))
    except (AssertionError, TimeoutError) as failure:
        sys.exit(f"python-kraken-sdk: {failure or 'out of time'}")
    print("python-kraken-sdk: ok")

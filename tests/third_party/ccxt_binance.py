"""ccxt pro against a Binance spot server, as a user of it would write it.

    python ccxt_binance.py --http http://127.0.0.1:9001 --ws ws://127.0.0.1:9001 --key KEY --secret SECRET

Loads the markets, streams best prices, trades and a book, then places, follows and cancels orders.
Exits 0 when all of it worked, 1 with the reason otherwise. The market must move.
"""

import asyncio

import ccxt.pro as ccxtpro
from ccxt.base.errors import InsufficientFunds, InvalidOrder, OrderNotFound

from ccxt_user import Orders, run, soon

SYMBOL = "BTC/USDT"


def exchange_at(arguments):
    exchange = ccxtpro.binance({"apiKey": arguments.key, "secret": arguments.secret})
    api = exchange.urls["api"]
    for name, url in api.items():
        if isinstance(url, str):
            path = url.split("/", 3)[3]
            api[name] = f"{arguments.http}/{path}"
    api["ws"]["spot"] = f"{arguments.ws}/ws"
    api["ws"]["ws-api"]["spot"] = f"{arguments.ws}/ws-api/v3"
    return exchange


async def use(exchange):
    markets = await soon(exchange.load_markets(), "markets")
    assert SYMBOL in markets, sorted(markets)

    best = (await soon(exchange.watch_bids_asks([SYMBOL]), "best prices"))[SYMBOL]
    assert 0 < best["bid"] < best["ask"], best
    trades = await soon(exchange.watch_trades(SYMBOL), "trades")
    assert trades[0]["price"] > 0, trades
    ticker = await soon(exchange.watch_ticker(SYMBOL), "ticker")
    assert ticker["last"] > 0, ticker
    for _ in range(20):
        book = await soon(exchange.watch_order_book(SYMBOL), "book")
        assert book["bids"][0][0] < book["asks"][0][0], book

    orders = Orders(exchange, SYMBOL)
    price = float(exchange.price_to_precision(SYMBOL, best["bid"] * 0.8))
    placed = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, price), "answer")
    assert placed["status"] == "open", placed
    await orders.wait_for(placed["id"], "open")
    await soon(exchange.cancel_order_ws(placed["id"], SYMBOL), "answer to the cancel")
    await orders.wait_for(placed["id"], "canceled")

    fills = asyncio.ensure_future(exchange.watch_my_trades(SYMBOL))
    await asyncio.sleep(0)
    taken = await soon(exchange.create_order_ws(SYMBOL, "market", "buy", 0.01), "answer")
    assert taken["status"] == "closed" and taken["filled"] == 0.01, taken
    assert (await soon(fills, "fills"))[0]["order"] == taken["id"], "a fill of another order"
    closed = await orders.wait_for(taken["id"], "closed")
    assert closed["filled"] == 0.01 and closed["fee"]["cost"] > 0, closed

    post_only = {"postOnly": True}
    crossing = float(exchange.price_to_precision(SYMBOL, best["ask"] * 1.05))
    for name, refused, error in (
        ("above the balance", lambda: exchange.create_order_ws(SYMBOL, "limit", "buy", 8000, price), InsufficientFunds),
        ("that takes", lambda: exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, crossing, post_only), InvalidOrder),
        ("cancelled twice", lambda: exchange.cancel_order_ws(placed["id"], SYMBOL), OrderNotFound),
    ):
        try:
            await soon(refused(), "refusal")
            raise AssertionError(f"an order {name} was accepted")
        except error:
            pass

    balance = await soon(exchange.fetch_balance(), "balance")
    assert balance["BTC"]["total"] > 0, balance
    over_socket = await soon(exchange.fetch_balance_ws(), "balance on the socket")
    # ccxt does not read the assets of this answer; they are in what it keeps of it.
    held = {entry["asset"]: float(entry["free"]) for entry in over_socket["info"]["balances"]}
    assert held["BTC"] == balance["BTC"]["free"], over_socket
    resting = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, price), "answer")
    listed = await soon(exchange.fetch_open_orders_ws(SYMBOL), "open orders")
    assert resting["id"] in [order["id"] for order in listed], listed
    by_rest = await soon(exchange.create_order(SYMBOL, "limit", "buy", 0.02, price), "REST answer")
    await orders.wait_for(by_rest["id"], "open")
    found = await soon(exchange.fetch_order(by_rest["id"], SYMBOL), "REST query")
    assert found["amount"] == 0.02, found
    await soon(exchange.cancel_order(by_rest["id"], SYMBOL), "REST cancel")
    await orders.wait_for(by_rest["id"], "canceled")
    await soon(exchange.cancel_all_orders_ws(SYMBOL), "answer to the cancel of all")
    assert await soon(exchange.fetch_open_orders(SYMBOL), "open orders") == []
    orders.task.cancel()


if __name__ == "__main__":
    run("ccxt binance", __doc__, exchange_at, use)

"""ccxt pro against a Kraken server, as a user of it would write it.

    python ccxt_kraken.py --http http://127.0.0.1:9002 --ws ws://127.0.0.1:9002 --key KEY --secret SECRET

Loads the markets, streams best prices, trades and a book, then places, follows and cancels orders.
Exits 0 when all of it worked, 1 with the reason otherwise. The market must move, and the server
must write full execution reports: ccxt files orders by symbol, which deltas do not name.
"""

import asyncio

import ccxt.pro as ccxtpro
from ccxt.base.errors import InsufficientFunds, OrderNotFound

from ccxt_user import Orders, run, soon

SYMBOL = "BTC/USD"


def exchange_at(arguments):
    exchange = ccxtpro.kraken({"apiKey": arguments.key, "secret": arguments.secret})
    api = exchange.urls["api"]
    api["public"] = arguments.http
    api["private"] = arguments.http
    for name in ("public", "private", "publicV2", "privateV2"):
        api["ws"][name] = f"{arguments.ws}/v2"
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
        book = await soon(exchange.watch_order_book(SYMBOL, 10), "book")
        assert book["bids"][0][0] < book["asks"][0][0], book

    orders = Orders(exchange, SYMBOL)
    price = float(exchange.price_to_precision(SYMBOL, best["bid"] * 0.8))
    placed = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, price), "answer")
    await orders.wait_for(placed["id"], "open")
    await soon(exchange.cancel_order_ws(placed["id"]), "answer to the cancel")
    await orders.wait_for(placed["id"], "canceled")

    fills = asyncio.ensure_future(exchange.watch_my_trades(SYMBOL))
    await asyncio.sleep(0)
    price = float(exchange.price_to_precision(SYMBOL, best["ask"] * 1.05))
    taken = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, price), "answer")
    assert (await soon(fills, "fills"))[0]["order"] == taken["id"], "a fill without its order"
    closed = await orders.wait_for(taken["id"], "closed")
    assert closed["filled"] == 0.01, closed

    try:
        await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 1e6, price), "refusal")
        raise AssertionError("an order above the balance was accepted")
    except InsufficientFunds:
        pass
    try:
        await soon(exchange.cancel_order_ws(placed["id"]), "refusal")
        raise AssertionError("a cancelled order was cancelled again")
    except OrderNotFound:
        pass

    balance = await soon(exchange.fetch_balance(), "balance")
    assert balance["BTC"]["total"] > 0, balance
    resting = await soon(exchange.create_order_ws(SYMBOL, "limit", "buy", 0.01, 10000), "answer")
    listed = await soon(exchange.fetch_open_orders(SYMBOL), "open orders")
    assert resting["id"] in [order["id"] for order in listed], listed
    await soon(exchange.cancel_all_orders_ws(), "answer to the cancel of all")
    assert await soon(exchange.fetch_open_orders(SYMBOL), "open orders") == []
    done = await soon(exchange.fetch_closed_orders(SYMBOL), "closed orders")
    assert taken["id"] in [order["id"] for order in done], done
    orders.task.cancel()


if __name__ == "__main__":
    run("ccxt kraken", __doc__, exchange_at, use)

"""ccxt pro against a Deribit server, as a user of it would write it.

    python ccxt_deribit.py --http http://127.0.0.1:9003 --ws ws://127.0.0.1:9003 --key KEY --secret SECRET

Loads the markets, streams best prices, trades and a book, then places orders over HTTP (ccxt has no
order entry on this exchange's socket), follows them on the socket and cancels them. Exits 0 when all
of it worked, 1 with the reason otherwise. The market must move.
"""

import asyncio

import ccxt.pro as ccxtpro
from ccxt.base.errors import ExchangeError, InvalidOrder, OrderNotFound

from ccxt_user import Orders, run, soon

SYMBOL = "BTC/USD:BTC"


def exchange_at(arguments):
    exchange = ccxtpro.deribit({"apiKey": arguments.key, "secret": arguments.secret})
    # Watched fills are filed before the next await, so that none is missed.
    exchange.newUpdates = True
    exchange.urls["api"] = {"rest": arguments.http, "ws": f"{arguments.ws}/ws/api/v2"}
    return exchange


async def use(exchange):
    markets = await soon(exchange.load_markets(), "markets")
    assert markets[SYMBOL]["inverse"] and markets["BTC/USDC:USDC"]["linear"], sorted(markets)

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
    fills = asyncio.ensure_future(exchange.watch_my_trades(SYMBOL))
    await soon(exchange.watch_balance(), "balance")
    price = float(exchange.price_to_precision(SYMBOL, best["bid"] * 0.8))
    placed = await soon(exchange.create_order(SYMBOL, "limit", "buy", 10, price), "answer")
    await orders.wait_for(placed["id"], "open")
    edited = await soon(exchange.edit_order(placed["id"], SYMBOL, "limit", "buy", 20, price), "edit")
    assert edited["id"] == placed["id"] and edited["amount"] == 20, edited
    await soon(exchange.cancel_order(placed["id"], SYMBOL), "answer to the cancel")
    await orders.wait_for(placed["id"], "canceled")

    taken = await soon(exchange.create_order(SYMBOL, "market", "buy", 10), "answer")
    assert taken["status"] == "closed" and taken["filled"] == 10, taken
    assert (await soon(fills, "fills"))[0]["order"] == taken["id"], "a fill without its order"
    held = await soon(exchange.fetch_position(SYMBOL), "position")
    assert held["side"] == "long" and held["contracts"] == 10, held
    reduced = await soon(
        exchange.create_order(SYMBOL, "market", "sell", 10, None, {"reduceOnly": True}), "answer"
    )
    assert reduced["status"] == "closed", reduced

    crossing = float(exchange.price_to_precision(SYMBOL, best["ask"] * 1.02))
    try:
        await soon(
            exchange.create_order(SYMBOL, "limit", "buy", 10, crossing, {"postOnly": True}), "refusal"
        )
        raise AssertionError("a post-only order that takes was accepted")
    except (InvalidOrder, ExchangeError):
        pass
    try:
        await soon(exchange.cancel_order(placed["id"], SYMBOL), "refusal")
        raise AssertionError("a cancelled order was cancelled again")
    except (OrderNotFound, ExchangeError):
        pass

    balance = await soon(exchange.fetch_balance({"code": "BTC"}), "balance")
    assert balance["BTC"]["total"] > 0, balance
    resting = await soon(exchange.create_order(SYMBOL, "limit", "buy", 10, price), "answer")
    listed = await soon(exchange.fetch_open_orders(SYMBOL), "open orders")
    assert resting["id"] in [order["id"] for order in listed], listed
    assert (await soon(exchange.fetch_order(resting["id"], SYMBOL), "order"))["status"] == "open"
    await soon(exchange.cancel_all_orders(SYMBOL), "answer to the cancel of all")
    assert await soon(exchange.fetch_open_orders(SYMBOL), "open orders") == []
    done = await soon(exchange.fetch_closed_orders(SYMBOL), "closed orders")
    assert taken["id"] in [order["id"] for order in done], done
    mine = await soon(exchange.fetch_my_trades(SYMBOL), "own trades")
    assert taken["id"] in [trade["order"] for trade in mine], mine
    orders.task.cancel()


if __name__ == "__main__":
    run("ccxt deribit", __doc__, exchange_at, use)

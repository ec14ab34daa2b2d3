//! Positions in derivatives.

use rust_decimal::Decimal;

use super::order::Side;
use crate::instrument::Contract;

/// What the account holds of one derivative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Quantity, negative for a short position.
    pub(crate) size: Decimal,
    /// Average price of the open quantity; zero without any.
    pub(crate) average_price: Decimal,
    /// Profit of what was closed, in the settlement asset, without fees.
    pub(crate) realised: Decimal,
}

impl Position {
    /// Books a fill and returns the profit that it realised, in the settlement asset.
    pub(crate) fn fill(
        &mut self,
        contract: &Contract,
        side: Side,
        price: Decimal,
        quantity: Decimal,
    ) -> Decimal {
        let signed = side.signed(quantity);
        let opposite = (self.size * signed).is_sign_negative() && !self.size.is_zero();
        let closed = if opposite { quantity.min(self.size.abs()) } else { Decimal::ZERO };
        let closed_signed = if self.size.is_sign_negative() { -closed } else { closed };
        let profit = contract.profit(self.average_price, price, closed_signed);
        let opened = quantity - closed;
        if !opened.is_zero() {
            let held = self.size - closed_signed;
            self.average_price =
                contract.average((self.average_price, held.abs()), (price, opened));
        }
        self.size += signed;
        if self.size.is_zero() {
            *self = Self { realised: self.realised, ..Self::default() };
        }
        self.realised += profit;
        profit
    }

    /// How much an order of this side could take off the position.
    pub(crate) fn reducible(&self, side: Side) -> Decimal {
        let against = match side {
            Side::Buy => -self.size,
            Side::Sell => self.size,
        };
        against.max(Decimal::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::ContractKind;

    fn contract(kind: ContractKind) -> Contract {
        let size = Decimal::ONE;
        Contract { kind, size, settlement: "X".into(), leverage: Decimal::TEN }
    }

    #[test]
    fn an_inverse_position_averages_and_gains_in_the_base_coin() {
        let contract = contract(ContractKind::Inverse);
        let mut position = Position::default();
        let (low, high) = (Decimal::from(50_000), Decimal::from(100_000));
        assert_eq!(position.fill(&contract, Side::Buy, low, Decimal::from(1_000)), Decimal::ZERO);
        position.fill(&contract, Side::Buy, high, Decimal::from(2_000));
        // 3000 USD for 0.02 + 0.02 BTC.
        assert_eq!(position.average_price, Decimal::from(75_000));
        let profit = position.fill(&contract, Side::Sell, high, Decimal::from(3_000));
        assert_eq!(profit, Decimal::new(1, 2));
        assert_eq!(position, Position { realised: profit, ..Position::default() });
    }

    #[test]
    fn a_linear_position_that_flips_opens_anew_at_the_last_price() {
        let contract = contract(ContractKind::Linear);
        let mut position = Position::default();
        position.fill(&contract, Side::Sell, Decimal::from(100), Decimal::TWO);
        let profit = position.fill(&contract, Side::Buy, Decimal::from(90), Decimal::from(5));
        assert_eq!(profit, Decimal::from(20));
        assert_eq!(position.size, Decimal::from(3));
        assert_eq!(position.average_price, Decimal::from(90));
        assert_eq!(position.reducible(Side::Sell), Decimal::from(3));
        assert_eq!(position.reducible(Side::Buy), Decimal::ZERO);
    }
}

//! Cancel an order and place another in one request.

use super::Binance;
use super::orders::{Answer, Caller};
use super::params::{ApiError, Params};
use crate::venue::state::{Ack, VenueState};

impl Binance {
    /// `cancelReplaceMode` says whether the new order is placed when the cancel fails.
    pub(super) fn replace(
        &mut self,
        state: &mut VenueState,
        caller: Caller,
        params: &Params,
    ) -> Answer {
        let stop = match params.required("cancelReplaceMode") {
            Ok("STOP_ON_FAILURE") => true,
            Ok("ALLOW_FAILURE") => false,
            Ok(_) => {
                let text = "Invalid data sent for parameter 'cancelReplaceMode'.";
                return Err(ApiError::new(-1130, text)).into();
            }
            Err(error) => return Err(error).into(),
        };
        let cancel = params.renamed(&[
            ("symbol", "symbol"),
            ("cancelOrderId", "orderId"),
            ("cancelOrigClientOrderId", "origClientOrderId"),
            ("cancelNewClientOrderId", "newClientOrderId"),
            ("cancelRestrictions", "cancelRestrictions"),
        ]);
        let cancelled = self.cancel(state, caller, &cancel);
        let attempted = cancelled.result.is_ok() || !stop;
        let placed = attempted.then(|| self.place(state, caller, params));
        let result = outcome(&cancelled.result, placed.as_ref().map(|answer| &answer.result));
        let mut answer = Answer { result, ..cancelled };
        if let Some(placed) = placed {
            answer.events.extend(placed.events);
            if placed.ack != Ack::Send {
                answer.ack = placed.ack;
            }
        }
        answer
    }
}

fn outcome(
    cancelled: &Result<String, ApiError>,
    placed: Option<&Result<String, ApiError>>,
) -> Result<String, ApiError> {
    let show = |result: &Result<String, ApiError>| match result {
        Ok(json) => ("SUCCESS", json.clone()),
        Err(error) => ("FAILURE", error.json()),
    };
    let (cancel_result, cancel_response) = show(cancelled);
    let (new_result, new_response) =
        placed.map_or_else(|| ("NOT_ATTEMPTED", "null".to_owned()), show);
    let data = format!(
        r#"{{"cancelResult":"{cancel_result}","newOrderResult":"{new_result}","cancelResponse":{cancel_response},"newOrderResponse":{new_response}}}"#
    );
    let succeeded = [cancelled.is_ok(), placed.is_some_and(Result::is_ok)];
    let mut error = match succeeded {
        [true, true] => return Ok(data),
        [false, false] => ApiError::new(-2022, "Order cancel-replace failed."),
        _ => ApiError::new(-2021, "Order cancel-replace partially failed.").with_status(409),
    };
    error.data = Some(data);
    Err(error)
}

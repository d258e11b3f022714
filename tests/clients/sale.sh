#!/bin/sh
# A sale by curl, and a webhook checked by openssl. Needs API, CONTROL, KEY, SECRET, HOOK, MESSAGE (see __main__.py).
set -eu
call() { curl -sS --fail-with-body -H "x-api-key: $KEY" -H "Content-Type: application/json" "$@"; }
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }

call -X PUT "$CONTROL/store" -d "{\"webhook_url\": \"$HOOK\"}" >/dev/null
call -X PUT "$CONTROL/plans/pro" -d '{"name": "Pro", "prices": [{"currency": "inr", "amount": "499"}]}' >/dev/null
call "$API/customers" -d '{"external_id": "u1", "name": "Asha"}' >/dev/null
plan=$(call "$API/plans/lookup/pro" | grep -o 'plan_[0-9A-Z]*' | head -n 1)
session=$(call "$API/checkout/sessions" -d "{
  \"customer_external_id\": \"u1\", \"action\": \"create_subscription\", \"payment_provider\": \"razorpay\",
  \"configuration\": {\"create_subscription_params\":
    {\"plan_id\": \"$plan\", \"currency\": \"INR\", \"billing_period\": \"MONTHLY\"}},
  \"success_url\": \"https://shop.example/return\"}")
id=$(printf %s "$session" | grep -o 'cs_[0-9A-Z]*' | head -n 1)
link=$(printf %s "$session" | field url)
call "$CONTROL/provider" -d "{\"action\": \"pay\", \"link\": \"$link\"}" >/dev/null
call "$API/checkout/sessions/$id" | grep -q '"checkout_status":"completed"'

# The receiver of __main__.py has written the first message: its raw body and two headers.
call -X POST "$CONTROL/deliver" -d '{}' >/dev/null
key=$(printf %s "${SECRET#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
signed=$(printf '%s.%s.' "$(cat "$MESSAGE.id")" "$(cat "$MESSAGE.timestamp")"; cat "$MESSAGE.body"; printf .)
computed=$(printf %s "${signed%.}" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
test "v1,$computed" = "$(cat "$MESSAGE.signature")"
echo "sold $id, signature verified"

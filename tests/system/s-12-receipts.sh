# Receipts between sendmail and either MTA, both ways.
receipts_both_ways=1
. "$SYSTEM_DIR/t-27-receipt-mail.sh"

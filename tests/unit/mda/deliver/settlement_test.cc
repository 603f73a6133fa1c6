#include "mda/deliver/settlement.h"

#include <gtest/gtest.h>

#include "mda/deliver/handover.h"

namespace bsmtp::mda {
namespace {

const TimePoint kNow{std::chrono::seconds(1790000000)};
const ExpiryRule kLater{kNow + std::chrono::hours(1), "hub"};
const ExpiryRule kOver{kNow - std::chrono::hours(1), "hub"};

mail::Envelope envelope(std::size_t recipients) {
  mail::Envelope out;
  out.sender = "a@b";
  for (std::size_t i = 0; i < recipients; ++i) {
    mail::Recipient recipient;
    recipient.address = "r" + std::to_string(i) + "@c";
    out.recipients.push_back(recipient);
  }
  return out;
}

smtp::RecipientResult answer(int code, smtp::Stage stage = smtp::Stage::kRcpt) {
  smtp::RecipientResult result;
  result.stage = stage;
  result.reply.code = code;
  result.reply.lines = {"text"};
  result.status = result.reply.to_status("");
  result.too_many_recipients = code == 452;
  return result;
}

TEST(SettlementTest, MetaRefusalsAreFailedAndNotSent) {
  spool::AcceptedMessage message;
  message.refused.push_back({2, "5.7.1", "not there"});
  message.refused.push_back({9, "5.7.1", "no such ordinal"});
  const auto states = plan_recipients(envelope(3), message);
  EXPECT_EQ(states[1].fate, Fate::kFailed);
  const auto rest = remaining_envelope(envelope(3), states);
  ASSERT_EQ(rest.recipients.size(), 2U);
  EXPECT_EQ(rest.recipients[1].address, "r2@c");
}

TEST(SettlementTest, EachAnswerHasItsFate) {
  auto states = plan_recipients(envelope(4), {});
  states[1].fate = Fate::kKnown;
  smtp::Delivery delivery;
  delivery.recipients = {answer(250, smtp::Stage::kText), answer(550), answer(450)};
  apply_delivery(delivery, kNow, kLater, states);
  EXPECT_EQ(states[0].fate, Fate::kDelivered);
  EXPECT_EQ(states[1].fate, Fate::kKnown);
  EXPECT_EQ(states[2].fate, Fate::kFailed);
  EXPECT_EQ(states[3].fate, Fate::kOpen);
  EXPECT_FALSE(all_final(states));
  EXPECT_FALSE(wants_retry_now(states));
}

TEST(SettlementTest, TooManyIsNobodysFailureWhateverItsCode) {
  for (const int text_reply : {250, 550}) {
    auto states = plan_recipients(envelope(2), {});
    smtp::Delivery delivery;
    delivery.recipients = {answer(text_reply, smtp::Stage::kText), answer(552)};
    delivery.recipients[1].too_many_recipients = true;
    apply_delivery(delivery, kNow, kLater, states);
    EXPECT_EQ(states[0].fate, text_reply == 250 ? Fate::kDelivered : Fate::kFailed);
    EXPECT_EQ(states[1].fate, Fate::kOpen);
    EXPECT_EQ(wants_retry_now(states), text_reply == 250);
  }
}

TEST(SettlementTest, AmbiguousLeavesAllOpen) {
  auto states = plan_recipients(envelope(1), {});
  smtp::Delivery delivery;
  delivery.outcome = smtp::Outcome::kAmbiguous;
  delivery.recipients = {answer(421, smtp::Stage::kText)};
  apply_delivery(delivery, kNow, kLater, states);
  EXPECT_EQ(states[0].fate, Fate::kOpen);
}

TEST(SettlementTest, OnlyWhoseTextWentIsInDoubt) {
  for (const ExpiryRule& rule : {kLater, kOver}) {
    auto states = plan_recipients(envelope(3), {});
    smtp::Delivery delivery;
    delivery.outcome = smtp::Outcome::kAmbiguous;
    delivery.recipients = {answer(421, smtp::Stage::kText), answer(550), answer(450)};
    apply_delivery(delivery, kNow, rule, states);
    EXPECT_TRUE(states[0].doubted);
    EXPECT_FALSE(states[1].doubted);
    EXPECT_EQ(states[1].fate, Fate::kFailed);
    EXPECT_FALSE(states[2].doubted);
  }
}

TEST(SettlementTest, ExpiredTemporaryFailureIsFinal) {
  auto states = plan_recipients(envelope(1), {});
  smtp::Delivery delivery;
  delivery.recipients = {answer(450)};
  apply_delivery(delivery, kNow, kOver, states);
  EXPECT_EQ(states[0].fate, Fate::kFailed);
  EXPECT_EQ(states[0].status.code(), "4.4.7");
}

TEST(SettlementTest, TooManyRecipientsRetriesOnlyWithProgress) {
  for (const bool progress : {true, false}) {
    auto states = plan_recipients(envelope(2), {});
    smtp::Delivery delivery;
    delivery.recipients = {answer(progress ? 250 : 452, smtp::Stage::kText), answer(452)};
    apply_delivery(delivery, kNow, kLater, states);
    EXPECT_EQ(wants_retry_now(states), progress);
    EXPECT_EQ(states[1].fate, Fate::kOpen);
  }
}

TEST(SettlementTest, FailuresAreOneReportAndDoubtedOnesAnother) {
  auto states = plan_recipients(envelope(5), {});
  states[1].doubted = true;
  smtp::Delivery delivery;
  delivery.recipients = {answer(550), answer(550), answer(554, smtp::Stage::kText),
                         answer(554, smtp::Stage::kText), answer(550)};
  apply_delivery(delivery, kNow, kLater, states);
  states[4].told = true;
  const auto groups = failure_groups(states, "hub");
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].kind, NoticeKind::kFailure);
  EXPECT_EQ(groups[0].recipients.size(), 3U);
  EXPECT_EQ(groups[0].recipients[0].status, "5.0.0");
  EXPECT_EQ(groups[1].kind, NoticeKind::kUnknown);
  ASSERT_EQ(groups[1].recipients.size(), 1U);
  EXPECT_EQ(groups[1].recipients[0].status, "4.4.0");
  EXPECT_EQ(groups[1].recipients[0].diagnostic, "");
}

TEST(HandoverTest, KeyDependsOnEachPart) {
  const std::string key = recipient_key("a", "b", "c");
  EXPECT_EQ(key.size(), 32U);
  EXPECT_NE(key, recipient_key("ab", "", "c"));
  EXPECT_NE(key, recipient_key("a", "b", "d"));
}

}  // namespace
}  // namespace bsmtp::mda

#include "mda/dispatch/resend_policy.h"

#include <gtest/gtest.h>

#include "mda/dispatch/acknowledge.h"
#include "mda/dispatch/due_index.h"

namespace bsmtp::mda {
namespace {

using std::chrono::hours;

// Hours since the parcel was built; it expires after 14 days.
constexpr int kDay = 24;
constexpr int kNever = -1;

TimePoint at(int hour) {
  return hour == kNever ? TimePoint() : TimePoint(std::chrono::hours(500000)) + hours(hour);
}

struct SentCase {
  const char* name;
  int handed;
  std::uint64_t resends;
  int bounced, next, asked;
  const char* held;
  bool seen;
  int now;
  SentStep step;
  int until;  // for kWait
};

TEST(DecideSentTest, ARefusalWaitsForAReceipt) {
  ParcelState state;
  state.created = state.handed = at(0);
  state.expires = at(3);
  state.bounced = at(2);
  state.refused = "5.3.4";
  ResendTimes times;
  times.refused = hours(2);
  for (const bool seen : {false, true}) {
    EXPECT_EQ(decide_sent(state, times, seen, at(3)).step, SentStep::kWait);
    EXPECT_EQ(decide_sent(state, times, seen, at(3)).next, at(4));
    EXPECT_EQ(decide_sent(state, times, seen, at(4)).step, SentStep::kRefused);
    EXPECT_EQ(decide_sent(state, times, seen, at(-100)).next, at(-98)) << "the clock was set back";
  }
}

TEST(DecideSentTest, FollowsTheTimes) {
  using S = SentStep;
  const SentCase cases[] = {
      {"just handed over", 0, 0, kNever, kNever, kNever, "", true, 0, S::kWait, 6},
      {"receipt may still come", 0, 0, kNever, kNever, kNever, "", true, 5, S::kWait, 6},
      {"silence", 0, 0, kNever, kNever, kNever, "", true, 6, S::kResend, 0},
      {"runs from the hand-over, not from the building", 60, 0, kNever, kNever, kNever, "", true,
       65, S::kWait, 66},
      {"doubled", 6, 1, kNever, kNever, kNever, "", true, 17, S::kWait, 18},
      {"doubled, over", 6, 1, kNever, kNever, kNever, "", true, 18, S::kResend, 0},
      {"doubled again", 18, 2, kNever, kNever, kNever, "", true, 41, S::kWait, 42},
      {"three times at most", 42, 3, kNever, kNever, kNever, "", true, 100, S::kWait, 14 * kDay},
      {"also from a peer that never answered", 0, 0, kNever, kNever, kNever, "", false, 6,
       S::kResend, 0},
      {"a bounce brings it forward", 0, 0, 1, 2, kNever, "", true, 1, S::kWait, 2},
      {"and counts when the silence would be over", 0, 0, 1, 9, kNever, "", true, 7, S::kWait, 9},
      {"its back-off is over", 0, 3, 1, 2, kNever, "", true, 2, S::kResend, 0},
      {"expired", 42, 3, kNever, kNever, kNever, "", true, 14 * kDay, S::kAsk, 0},
      {"expired while the dispatcher slept", 0, 0, kNever, kNever, kNever, "", true, 60 * kDay,
       S::kAsk, 0},
      {"expired, its last copy bounced", 42, 3, 43, 400, kNever, "", true, 14 * kDay, S::kAsk, 0},
      {"asked", 336, 3, kNever, kNever, 14 * kDay, "", true, 15 * kDay - 1, S::kWait, 15 * kDay},
      {"asked late: the grace runs from there", 1440, 0, kNever, kNever, 60 * kDay, "", true,
       61 * kDay - 1, S::kWait, 61 * kDay},
      {"asked, and that copy bounced", 336, 3, 336, 337, 14 * kDay, "", true, 337, S::kResend, 0},
      {"no answer", 336, 3, kNever, kNever, 14 * kDay, "", true, 15 * kDay, S::kUnknown, 0},
      {"no answer, only a bounce", 336, 3, 337, 338, 14 * kDay, "", true, 15 * kDay, S::kUnknown,
       0},
      {"no answer from somebody who never gave one", 336, 3, kNever, kNever, 14 * kDay, "", false,
       15 * kDay, S::kHold, 0},
      {"held", 336, 3, kNever, kNever, 14 * kDay, "held", false, 90 * kDay, S::kWait, kNever},
      {"held, and now the peer answers others", 336, 3, kNever, kNever, 14 * kDay, "held", true,
       90 * kDay, S::kAsk, 0},
      {"the clock was set back", 100, 0, kNever, kNever, kNever, "", true, 50, S::kWait, 56},
  };
  for (const SentCase& c : cases) {
    ParcelState state;
    state.created = at(0);
    state.expires = at(14 * kDay);
    state.handed = at(c.handed);
    state.resends = c.resends;
    state.bounced = at(c.bounced);
    state.next = at(c.next);
    state.asked = at(c.asked);
    state.held = c.held;
    const SentDecision decision = decide_sent(state, {}, c.seen, at(c.now));
    EXPECT_EQ(sent_step_name(decision.step), sent_step_name(c.step)) << c.name;
    if (c.step == SentStep::kWait) {
      EXPECT_EQ(decision.next, c.until == kNever ? TimePoint::max() : at(c.until)) << c.name;
    }
  }
}

// Whatever happens, a parcel ends: each decision is carried out when it is due, nobody answers.
TEST(DecideSentTest, AParcelWithoutAnswerEndsAfterFiveCopies) {
  ParcelState state;
  state.created = state.handed = at(0);
  state.expires = at(14 * kDay);
  TimePoint now = at(0);
  int copies = 1;
  for (int steps = 0; steps < 100; ++steps) {
    const SentDecision decision = decide_sent(state, {}, true, now);
    if (decision.step == SentStep::kWait) {
      ASSERT_GT(decision.next, now);
      now = decision.next;
    } else if (decision.step == SentStep::kUnknown) {
      break;
    } else {
      ++copies;
      state.resends += decision.step == SentStep::kResend ? 1U : 0U;
      state.asked = decision.step == SentStep::kAsk ? now : state.asked;
      state.handed = now;
    }
  }
  EXPECT_EQ(copies, 5);
  EXPECT_EQ(now, at(15 * kDay));
}

TEST(AfterBounceTest, BacksOff) {
  ParcelState state;
  const int expected[] = {1, 2, 4, 8, 16, 24, 24};
  for (const int wait : expected) {
    ++state.bounces;
    EXPECT_EQ(after_bounce(state, {}, at(0)), at(wait)) << state.bounces;
  }
}

TEST(ClassifyRefusalTest, TellsSizeAndContentFromTheRest) {
  using R = Refusal;
  using A = RefusedAt;
  const struct {
    const char* status;
    const char* diagnostic;
    RefusedAt at;
    Refusal what;
  } cases[] = {
      {"5.3.4", "552 5.3.4 Message size exceeds fixed limit", A::kEnvelope, R::kTooBig},
      {"5.3.4", "", A::kUnknown, R::kTooBig},
      {"5.2.3", "552 5.2.3 Message size exceeds maximum value", A::kEnvelope, R::kTooBig},
      {"5.0.0", "552 message too large", A::kText, R::kTooBig},
      {"", "552-message too large", A::kUnknown, R::kTooBig},
      {"5.2.2", "552 5.2.2 Mailbox full", A::kEnvelope, R::kOther},
      {"5.0.0", "5523 odd", A::kUnknown, R::kOther},
      {"5.7.1", "550 5.7.1 virus found", A::kText, R::kContent},
      {"5.7.1", "554 5.7.1 Relay access denied", A::kEnvelope, R::kOther},
      {"5.7.1", "550 5.7.1 refused", A::kUnknown, R::kOther},
      {"5.7.26", "550 5.7.26 unauthenticated", A::kText, R::kContent},
      {"5.1.1", "550 5.1.1 no such user", A::kEnvelope, R::kOther},
      {"5.1.2", "", A::kUnknown, R::kOther},
      {"4.4.7", "", A::kUnknown, R::kOther},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(classify_refusal(c.status, c.diagnostic, c.at), c.what)
        << c.status << " " << c.diagnostic;
  }
}

TEST(HalfOfTest, CutsByOctetsAndLeavesNeitherHalfEmpty) {
  const struct {
    std::vector<std::uint64_t> octets;
    std::size_t cut;
  } cases[] = {{{1, 1}, 1},          {{9, 1}, 1},       {{1, 9}, 1},
               {{1, 1, 1, 1}, 2},    {{1, 1, 1, 9}, 3}, {{9, 1, 1, 1}, 1},
               {{1, 1, 1, 1, 1}, 2}, {{0, 0, 0}, 2},    {{4, 4, 1, 1, 1, 1}, 1}};
  for (const auto& c : cases) {
    const std::size_t cut = half_of(c.octets);
    EXPECT_GE(cut, 1U);
    EXPECT_LT(cut, c.octets.size());
    EXPECT_EQ(cut, c.cut) << c.octets.size() << " from " << c.octets[0];
  }
}

TEST(JudgeAnswerTest, OnlyTheParcelItselfOfThatPeerIsTouched) {
  using F = spool::ParcelFate;
  using S = spool::Stage;
  config::Peer peer;
  peer.receipts = "yes";
  const struct {
    const char* name;
    F fate;
    S stage;
    const char* digest;
    std::uint64_t asked_for;
    const char* failing;
    AnswerStep step;
  } cases[] = {
      {"arrived", F::kAccepted, S::kSent, "d", 1, "", AnswerStep::kRemove},
      {"arrived while it is sent again", F::kAccepted, S::kReady, "d", 2, "", AnswerStep::kRemove},
      {"other digest", F::kAccepted, S::kSent, "e", 1, "", AnswerStep::kOtherDigest},
      {"its digest is not known", F::kAccepted, S::kSent, "", 1, "", AnswerStep::kOtherDigest},
      {"none was asked for", F::kAccepted, S::kSent, "d", 0, "", AnswerStep::kNotAsked},
      {"after the senders were told", F::kAccepted, S::kFailed, "d", 1, "5.1.1",
       AnswerStep::kTooLate},
      {"while they are being told", F::kAccepted, S::kSent, "d", 1, "4.4.0", AnswerStep::kTooLate},
      {"refused", F::kRejected, S::kSent, "d", 1, "", AnswerStep::kFail},
      {"too late", F::kExpired, S::kSent, "d", 1, "", AnswerStep::kFail},
      {"refused twice", F::kRejected, S::kFailed, "d", 1, "5.6.0", AnswerStep::kKnown},
  };
  for (const auto& c : cases) {
    spool::ParcelAnswer answer;
    answer.digest = *c.digest == '\0' ? "" : "d";
    answer.fate = c.fate;
    ParcelState state;
    state.digest = c.digest;
    state.receipt = c.asked_for;
    state.failing = c.failing;
    EXPECT_EQ(judge_answer(answer, peer, c.stage, &state), c.step) << c.name;
  }
  EXPECT_EQ(judge_answer({}, peer, S::kSent, nullptr), AnswerStep::kNoSuchParcel);
}

TEST(DueIndexTest, GivesTheEarliestAndForgets) {
  DueIndex index;
  EXPECT_FALSE(index.next());
  index.set("b", at(2));
  index.set("a", at(3));
  index.set("c", TimePoint::max());
  EXPECT_EQ(index.next(), at(2));
  EXPECT_EQ(index.first_due(at(1)), "");
  EXPECT_EQ(index.first_due(at(2)), "b");
  index.set("b", TimePoint::max());
  EXPECT_EQ(index.first_due(at(3)), "a");
  index.remove("a");
  EXPECT_FALSE(index.next());
  EXPECT_EQ(index.size(), 2U);
  EXPECT_TRUE(index.contains("c"));
}

}  // namespace
}  // namespace bsmtp::mda

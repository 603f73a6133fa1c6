// One transaction of the SMTP client under way; of client.cc and client_text.cc only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "common/smtp/client.h"

namespace bsmtp::smtp {

// RFC 5321 3.8: with this reply the server closes the connection.
inline constexpr int kClosing = 421;

struct Client::Run {
  explicit Run(const mail::Envelope& envelope) : fates(envelope.recipients.size(), Fate::kOpen) {
    delivery.recipients.resize(envelope.recipients.size());
  }

  enum class Kind { kReset, kMail, kRcpt, kData };
  struct Command {
    Kind kind;
    std::size_t index;  // of the recipient
    std::string line;
  };
  enum class Fate { kOpen, kAccepted, kDecided };

  Delivery delivery;
  std::vector<Fate> fates;  // as the recipients
  std::vector<Command> commands;
  std::size_t sent = 0;      // commands written
  std::size_t answered = 0;  // commands whose reply has been read
  bool mail_refused = false;
  bool data_sent = false;
  Reply data_reply;
  bool over = false;  // the connection is lost or closing: all fates are decided

  void decide(std::size_t index, Stage stage, const Reply& reply, const Status& status) {
    delivery.recipients[index] = {stage, reply, status, false};
    fates[index] = Fate::kDecided;
  }
  void decide_all(Stage stage, const Reply& reply, const Status& status) {
    for (std::size_t i = 0; i < fates.size(); ++i) {
      if (fates[i] != Fate::kDecided) {
        decide(i, stage, reply, status);
      }
    }
  }
  bool any_accepted() const {
    return std::find(fates.begin(), fates.end(), Fate::kAccepted) != fates.end();
  }
};

}  // namespace bsmtp::smtp

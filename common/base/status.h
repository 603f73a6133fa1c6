// Status and Result<T>: how every function of the suite reports failure.
// A Status is born where the errno, reply or library error happens and says to a human what
// is wrong and with which file, peer or address; callers may only add context in front.
// The class decides what an agent answers: temporary -> 75 / 4xx and the MTA keeps the mail,
// permanent -> 65/69 / 5xx. Code and text are separate so that no text can lack a code.
// Threads: values; const methods are safe to share.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace bsmtp {

enum class StatusClass { kOk, kTemporary, kPermanent };

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  static Status ok() { return {}; }
  // `code` is an RFC 3463 enhanced status code of the class, e.g. "4.3.0".
  static Status temporary(std::string_view code, std::string text);
  static Status permanent(std::string_view code, std::string text);
  // Temporary, from errno: "4.3.0" (4.3.1 for ENOSPC/EDQUOT) and "WHAT: strerror".
  static Status from_errno(std::string_view what, int error);

  bool is_ok() const { return class_ == StatusClass::kOk; }
  bool is_temporary() const { return class_ == StatusClass::kTemporary; }
  bool is_permanent() const { return class_ == StatusClass::kPermanent; }
  explicit operator bool() const = delete;  // is_ok() reads unambiguously
  StatusClass status_class() const { return class_; }
  const std::string& code() const { return code_; }
  const std::string& text() const { return text_; }
  // errno of from_errno(), else 0.
  int error_number() const { return errno_; }
  // The same status with "CONTEXT: " in front of its text.
  Status with_context(std::string_view context) const;
  // "4.3.0 text", one line, control characters replaced; "2.0.0 ok" when ok.
  std::string to_string() const;

 private:
  StatusClass class_ = StatusClass::kOk;
  int errno_ = 0;
  std::string code_ = "2.0.0";
  std::string text_;
};

// A value or the Status that says why there is none (never an ok Status).
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}        // NOLINT
  Result(Status status) : v_(std::in_place_index<1>, std::move(status)) {  // NOLINT
    if (std::get<1>(v_).is_ok()) {
      std::abort();  // an ok Status carries no value: a bug in the caller
    }
  }
  bool is_ok() const { return v_.index() == 0; }
  const T& value() const& { return std::get<0>(v_); }
  T& value() & { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }
  Status status() const { return is_ok() ? Status::ok() : std::get<1>(v_); }

 private:
  std::variant<T, Status> v_;
};

#define BSMTP_CONCAT_INNER(a, b) a##b
#define BSMTP_CONCAT(a, b) BSMTP_CONCAT_INNER(a, b)

// TRY(expr): leaves the function with the failed Status of `expr`.
#define TRY(expr)                                        \
  do {                                                   \
    if (auto try_status = (expr); !try_status.is_ok()) { \
      return try_status;                                 \
    }                                                    \
  } while (false)

// TRY_ASSIGN(lhs, expr): leaves with the Status of a failed Result, else assigns its value.
#define TRY_ASSIGN(lhs, expr) TRY_ASSIGN_IMPL(BSMTP_CONCAT(try_result_, __LINE__), lhs, expr)
#define TRY_ASSIGN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                    \
  if (!tmp.is_ok()) {                   \
    return tmp.status();                \
  }                                     \
  lhs = std::move(tmp).value()

}  // namespace bsmtp

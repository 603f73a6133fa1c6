#include "common/base/status.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace bsmtp {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) {
    return Status::permanent("5.6.0", "odd");
  }
  return n / 2;
}

Result<int> quarter(int n) {
  TRY_ASSIGN(const int h, half(n));
  TRY_ASSIGN(const int q, half(h));
  return q;
}

TEST(Status, TryPropagatesTheFirstFailure) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).status().text(), "odd");
  EXPECT_TRUE(quarter(6).status().is_permanent());
}

TEST(Status, ErrnoIsTemporaryAndFullDiskHasItsOwnCode) {
  EXPECT_EQ(Status::from_errno("/spool/x", EIO).code(), "4.3.0");
  EXPECT_EQ(Status::from_errno("/spool/x", ENOSPC).code(), "4.3.1");
  EXPECT_EQ(Status::from_errno("/spool/x", EACCES).to_string(),
            "4.3.0 /spool/x: Permission denied");
}

TEST(Status, ContextGoesInFrontAndOkStaysOk) {
  EXPECT_EQ(Status::temporary("4.3.0", "b").with_context("a").text(), "a: b");
  EXPECT_TRUE(Status::ok().with_context("a").is_ok());
}

}  // namespace
}  // namespace bsmtp

# Delivery of accepted messages against a bare pipelined client, into one sink.
if(TARGET bsmtp-dispatch)
  add_executable(deliver_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/deliver_bench.cc)
  target_link_libraries(deliver_bench PRIVATE bsmtp_flags bsmtp_common_spool bsmtp_common_digest
                        Threads::Threads)
  target_compile_definitions(deliver_bench PRIVATE BSMTP_DISPATCH="$<TARGET_FILE:bsmtp-dispatch>")
  add_dependencies(deliver_bench bsmtp-dispatch)
  add_dependencies(benchmarks deliver_bench)
endif()

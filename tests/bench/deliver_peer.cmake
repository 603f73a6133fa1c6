# deliver_postfix_bench compares bsmtp-dispatch with this client; static, because it runs inside a rig host.
add_executable(deliver_peer EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/deliver_peer.cc)
target_link_libraries(deliver_peer PRIVATE bsmtp_flags Threads::Threads)
target_link_options(deliver_peer PRIVATE -static-libstdc++ -static-libgcc)
set_target_properties(deliver_peer PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test-tools)
add_dependencies(benchmarks deliver_peer)

// SPDX-License-Identifier: Apache-2.0
/*
 * A fault: writers do not wait for readers.  Linked with --wrap=urcu_memb_synchronize_rcu into programs in
 * which the thread sanitizer must then find something.
 */
void __wrap_urcu_memb_synchronize_rcu(void);

void __wrap_urcu_memb_synchronize_rcu(void)
{
}

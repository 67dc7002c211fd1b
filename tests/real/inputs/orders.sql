-- SPDX-License-Identifier: Apache-2.0
create table orders as
	select number, md5(number::text) as customer, number % 97 as amount from generate_series(1, 20000) as number;
create index orders_by_customer on orders (customer);
analyze orders;
select count(*), sum(amount), min(customer) from orders;
select amount, length(string_agg(customer, ',' order by customer)) from orders group by amount order by amount limit 5;
with recursive steps (n, total) as (select 1, 1 union all select n + 1, total + n from steps where n < 2000)
	select max(total) from steps;
do $$ begin raise notice 'said by the server'; end $$;
select 1 / 0;
drop table orders;

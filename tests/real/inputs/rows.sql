-- SPDX-License-Identifier: Apache-2.0
create table item (id integer primary key, name text, price real);
with recursive counter (i) as (select 1 union all select i + 1 from counter where i < 60000)
insert into item select i, 'item number ' || i, i % 97 from counter;
create index item_name on item (name);
delete from item where id % 3 = 0;
select count(*), sum(id), max(name) from item;
select price, count(*), group_concat(substr(name, 13), ' ') from item group by price order by price limit 3;
